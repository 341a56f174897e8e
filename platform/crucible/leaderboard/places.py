"""The places on a board that the test questions leave open, from what all of its rows answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from django.core.cache import caches

from crucible.leaderboard.kept import KEPT
from crucible.leaderboard.records import answers_of_records
from evaluation.answers import Answers, strata_of
from evaluation.statistics import ADDED, Floats, covariance, figures_of
from evaluation.suite import Suite
from evaluation.ties import Places, places_of

TIED_ROWS = 100  # of a board, from the top: pairs grow with the square


class Ranked(Protocol):
    """What places are found by: a score, or a board's row of one."""

    @property
    def figure(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def stderr(self) -> float | None: ...
    @property
    def records_sha256(self) -> str: ...


def places_on_board(
    suite: Suite, metric_version: str, scores: Sequence[Ranked]
) -> list[Places | None]:
    """The places of comparable scores, the best first; None where a score or its error is unknown.

    Scores without records count as if they had answered other questions, which can only widen.
    """
    known = [n for n, s in enumerate(scores) if s.value is not None and s.stderr is not None]
    known = known[:TIED_ROWS]
    found: list[Places | None] = [None] * len(scores)
    if known:
        values = [scores[n].value or 0.0 for n in known]
        errors = np.diag([(scores[n].stderr or 0.0) ** 2 for n in known])
        records = [scores[n].records_sha256 for n in known]
        answered, shared = _shared_errors(suite, records, scores[known[0]].figure, metric_version)
        errors[np.ix_(answered, answered)] = shared
        for n, places in zip(known, places_of(values, errors), strict=True):
            found[n] = places
    return found


def _shared_errors(
    suite: Suite, records: Sequence[str], figure: str, metric_version: str
) -> tuple[list[int], Floats]:
    """Which of these records' answers are there, and the covariance of the figure among them.

    Kept for all processes: a board that only lost rows needs no answers read again.
    """
    name = f"errors-{suite.hash}-{figure}-{metric_version}"
    known: tuple[dict[str, int], Floats] | None = caches["boards"].get(name)
    if known is None or not known[0].keys() >= set(records):
        known = _covariance(suite, list(dict.fromkeys(records)), figure, metric_version)
        caches["boards"].set(name, known, KEPT)
    rows, errors = known
    answered = [n for n, one in enumerate(records) if rows[one] >= 0]
    places = [rows[records[n]] for n in answered]
    return answered, errors[np.ix_(places, places)]


def _covariance(
    suite: Suite, records: Sequence[str], name: str, metric_version: str
) -> tuple[dict[str, int], Floats]:
    """Each record's row in the covariance of a figure, −1 where its answers are not there."""
    rows = dict.fromkeys(records, -1)
    figures = figures_of(suite, metric_version, [task.label for task in suite.tasks])
    figure = next(figure for figure in figures if figure.name == name)
    asked: list[Answers] = []
    for one in records:
        answers = answers_of_records(one)
        if answers is not None and answers.keys() >= figure.weights.keys():
            rows[one] = len(asked)
            asked.append({label: answers[label] for label in figure.weights})
    if not asked:
        return rows, np.zeros((0, 0))
    errors = covariance(strata_of(suite, asked), figure, added=ADDED)
    assert errors is not None  # with added questions there is one
    return rows, errors
