"""Rank intervals: the ranks on a board that the test questions leave open to each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crucible.boards.kept import kept_each
from crucible.leaderboard.records import answers_of_records
from evaluation.answers import Answers, Stratum, strata_of
from evaluation.run_spread import RunSpread
from evaluation.statistics import ADDED, Figure, Floats, covariance, figures_of
from evaluation.suite import Suite
from evaluation.ties import Places, places_of

COMPARED_ROWS = 100  # from the top of a board: the number of pairs grows with the square


class Ranked(Protocol):
    """What a rank interval needs of a score."""

    @property
    def figure(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def stderr(self) -> float | None: ...
    @property
    def records_sha256(self) -> str: ...


@dataclass(frozen=True)
class Bits:
    """One run's answers to the questions of a figure: one bit each, stratum after stratum.

    `strata` holds for each stratum the labels and the numbers of categories and questions.
    `questions` is a hash over the identity of the questions.
    """

    strata: tuple[tuple[tuple[str, ...], int, int], ...]
    questions: bytes
    correct: NDArray[np.uint8]


def places_on_board(
    suite: Suite, metric_version: str, scores: Sequence[Ranked], spread: RunSpread | None = None
) -> list[Places | None]:
    """Rank intervals of comparable scores, the best first; None if score or error is unknown.

    With a `spread` of runs they are about the datasets: another seed is left open too. A score
    without per-example answers counts as if it had answered other questions. That can only widen
    the intervals.
    """
    known = [n for n, s in enumerate(scores) if s.value is not None and s.stderr is not None]
    known = known[:COMPARED_ROWS]
    found: list[Places | None] = [None] * len(scores)
    if known:
        values = [scores[n].value or 0.0 for n in known]
        errors = np.diag([(scores[n].stderr or 0.0) ** 2 for n in known])
        records = [scores[n].records_sha256 for n in known]
        answered, shared = _shared_errors(suite, records, scores[known[0]].figure, metric_version)
        errors[np.ix_(answered, answered)] = shared
        for n, places in zip(known, places_of(values, errors, spread), strict=True):
            found[n] = places
    return found


def _shared_errors(
    suite: Suite, records: Sequence[str], name: str, metric_version: str
) -> tuple[list[int], Floats]:
    """The positions of records whose answers exist, and the covariance of the figure among them.

    Each submission's answers are cached as bits: opening a hundred files takes seconds. A board
    with one new row opens only one file.
    """
    figures = figures_of(suite, metric_version, [task.label for task in suite.tasks])
    figure = next(figure for figure in figures if figure.name == name)
    key = f"answers-{suite.hash}-{name}-{metric_version}"
    found = kept_each({f"{key}-{one}": partial(_bits, suite, one, figure) for one in records})
    rows, errors = _covariance({one: found[f"{key}-{one}"] for one in records}, figure)
    answered = [n for n, one in enumerate(records) if rows[one] >= 0]
    places = [rows[records[n]] for n in answered]
    return answered, errors[np.ix_(places, places)]


def _bits(suite: Suite, records: str, figure: Figure) -> Bits | None:
    """None if the file of answers is missing or lacks a task of the figure."""
    answers = answers_of_records(records)
    if answers is None or not answers.keys() >= figure.weights.keys():
        return None
    asked: Answers = {label: answers[label] for label in figure.weights}
    strata = strata_of(suite, [asked])
    questions = sha256()
    for task in asked.values():
        questions.update(repr(task.categories).encode())
        questions.update(task.index.tobytes() + task.category.tobytes())
    return Bits(
        tuple((s.labels, s.categories, s.correct.shape[2]) for s in strata),
        questions.digest(),
        np.packbits(np.concatenate([s.correct.ravel() for s in strata])),
    )


def _covariance(answered: dict[str, Bits | None], figure: Figure) -> tuple[dict[str, int], Floats]:
    """Each record's row in the covariance of a figure; −1 if its answers are missing.

    Answers to other questions than the first record's count as missing.
    """
    first = next((bits for bits in answered.values() if bits is not None), None)
    if first is None:
        return dict.fromkeys(answered, -1), np.zeros((0, 0))
    same = {
        one: bits.correct
        for one, bits in answered.items()
        if bits is not None and bits.questions == first.questions
    }
    sizes = [len(labels) * questions for labels, _, questions in first.strata]
    correct = np.unpackbits(np.stack(list(same.values())), axis=1).astype(np.bool_)
    edges = pairwise(np.cumsum([0, *sizes]))
    strata = [
        Stratum(labels, categories, correct[:, start:end].reshape(len(same), len(labels), -1))
        for (labels, categories, _), (start, end) in zip(first.strata, edges, strict=True)
    ]
    errors = covariance(strata, figure, added=ADDED)
    assert errors is not None  # with added questions there is one
    rows = {one: row for row, one in enumerate(same)}
    return {one: rows.get(one, -1) for one in answered}, errors
