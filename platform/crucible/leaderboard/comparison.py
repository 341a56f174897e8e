"""Comparisons of published scores from the questions that all of them answered.

Two submissions: the paired difference of every mean and every task. A board: the places that the
questions leave open. Several seeds of one dataset: how far the runs lie apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crucible.leaderboard.models import Score
from crucible.leaderboard.records import answers_of_records
from crucible.leaderboard.suites import suite_of_score
from evaluation.answers import Answers, strata_of
from evaluation.proportions import TaskDifference, holds, task_differences
from evaluation.statistics import (
    ADDED,
    Estimate,
    Spread,
    covariance,
    differences,
    figures_of,
    spread_of_runs,
)
from evaluation.suite import Suite
from evaluation.ties import Places, places_of
from submissions.failures import Failure

TIED_ROWS = 100  # of a board, from the top: pairs grow with the square


@dataclass(frozen=True)
class Comparison:
    """The first score less the second; `clear` are the tasks whose difference holds among all."""

    figures: dict[str, Estimate]
    tasks: dict[str, TaskDifference]
    clear: set[str]


def compare(one: Score, other: Score) -> Comparison:
    """The paired comparison of two scores under the same metric version.

    Raises `Failure` (`refused`) in a sentence where they cannot be compared.
    """
    suite = suite_of_score(one)
    if one.metric_version != other.metric_version or one.suite_sha256 != other.suite_sha256:
        raise Failure("refused", "the two answered different questions: another suite or version")
    if suite is None:
        raise Failure("refused", "they answered a suite that this site no longer has")
    for score in (one, other):
        if answers_of_records(score.records_sha256) is None:
            name = score.submission.name
            raise Failure("refused", f"the single answers of {name} were not kept")
    return _compare(suite, one.records_sha256, other.records_sha256, one.metric_version)


@lru_cache(maxsize=128)
def _compare(suite: Suite, one: str, other: str, metric_version: str) -> Comparison:
    mine, theirs = answers_of_records(one), answers_of_records(other)
    assert mine is not None  # just looked at
    assert theirs is not None
    figures = differences(suite, mine, theirs, metric_version)
    tasks = task_differences(mine, theirs)
    return Comparison(figures, tasks, holds({label: task.p for label, task in tasks.items()}))


class Ranked(Protocol):
    """What places are found by: of a board's rows or of scores."""

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
        entries = tuple(
            (scores[n].records_sha256, scores[n].value or 0.0, scores[n].stderr or 0.0)
            for n in known
        )
        figure = scores[known[0]].figure
        for n, places in zip(known, _places(suite, entries, figure, metric_version), strict=True):
            found[n] = places
    return found


@lru_cache(maxsize=8)  # what a board looks like is kept besides, until it changes: kept.py
def _places(
    suite: Suite, entries: tuple[tuple[str, float, float], ...], figure: str, metric_version: str
) -> list[Places]:
    """`entries` are records, value and standard error of each score."""
    errors = np.diag([stderr**2 for _, _, stderr in entries])
    kept = [(place, answers_of_records(entry[0])) for place, entry in enumerate(entries)]
    answered = [(place, answers) for place, answers in kept if answers is not None]
    if len(answered) > 1:
        shared = _shared_errors(suite, [answers for _, answers in answered], figure, metric_version)
        if shared is not None:
            places = [place for place, _ in answered]
            errors[np.ix_(places, places)] = shared
    return places_of([value for _, value, _ in entries], errors)


def _shared_errors(
    suite: Suite, models: Sequence[Answers], name: str, metric_version: str
) -> NDArray[np.float64] | None:
    """The covariance of this figure among models that answered the same questions."""
    figures = figures_of(suite, metric_version, list(models[0]))
    figure = next((figure for figure in figures if figure.name == name), None)
    if figure is None:
        return None
    asked = [{label: answers[label] for label in figure.weights if label in answers}
             for answers in models]  # fmt: skip
    return covariance(strata_of(suite, asked), figure, added=ADDED)


@dataclass(frozen=True)
class Siblings:
    """The runs of one dataset with several seeds, and how far they lie apart."""

    scores: list[Score]
    spread: Spread


def runs_with_other_seeds(score: Score) -> Siblings | None:
    """The published scores of the same user's same dataset, recipe and suite, by seed.

    None where there is only one run. A seed that was run twice counts once, the first time.
    """
    found = (
        Score.objects.filter(
            submission__state="published",
            submission__user=score.submission.user,
            submission__track=score.submission.track,
            submission__scale=score.submission.scale,
            manifest_sha256=score.manifest_sha256,
            recipe_sha256=score.recipe_sha256,
            suite_sha256=score.suite_sha256,
            metric_version=score.metric_version,
        )
        .select_related("submission")
        .order_by("seed", "id")
    )
    by_seed: dict[int, Score] = {}
    for run in found:
        by_seed.setdefault(run.seed, run)
    scores = [run for run in by_seed.values() if run.value is not None]
    spread = spread_of_runs([run.value for run in scores if run.value is not None])
    return Siblings(scores, spread) if spread is not None else None
