"""Comparisons of published scores on the questions that all of them answered.

For two submissions: the paired difference of every mean and every task. For several seeds of one
dataset: the spread of the runs. For a whole board, see places.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from crucible.boards.kept import UNCHANGING, kept
from crucible.leaderboard.models import RANKING, Score
from crucible.leaderboard.records import answers_of_records, records_kept
from crucible.leaderboard.suites import suite_of_score
from evaluation.proportions import TaskDifference, holds, task_differences
from evaluation.statistics import Estimate, Spread, differences, spread_of_runs
from evaluation.suite import Suite
from submissions.failures import Failure
from submissions.states import State


@dataclass(frozen=True)
class Comparison:
    """First score minus second; `clear` are tasks whose difference survives Holm's correction."""

    figures: dict[str, Estimate]
    tasks: dict[str, TaskDifference]
    clear: set[str]


def compare(one: Score, other: Score) -> Comparison:
    """The paired comparison of two scores under the same metric version.

    Raises `Failure` (`refused`) if they cannot be compared.
    """
    suite = suite_of_score(one)
    if one.metric_version != other.metric_version or one.suite_sha256 != other.suite_sha256:
        raise Failure(
            "refused",
            "choose two submissions of the same suite: these answered different questions",
        )
    if suite is None:
        raise Failure(
            "refused",
            "choose newer submissions: this site no longer has the suite that these answered",
        )
    for score in (one, other):
        if not records_kept(score.records_sha256):
            name = score.submission.name
            raise Failure(
                "refused",
                f"choose another submission: the per-example answers of {name} were not kept",
            )
    names = (suite.hash, one.records_sha256, other.records_sha256, one.metric_version)
    return kept("-".join(("comparison", *names)), UNCHANGING, lambda: _compare(suite, one, other))


def _compare(suite: Suite, one: Score, other: Score) -> Comparison:
    mine, theirs = (answers_of_records(score.records_sha256) for score in (one, other))
    if mine is None or theirs is None:
        raise Failure(
            "refused",
            "choose other submissions: the per-example answers of one of these cannot be read",
        )
    figures = differences(suite, mine, theirs, one.metric_version)
    tasks = task_differences(mine, theirs)
    return Comparison(figures, tasks, holds({label: task.p for label, task in tasks.items()}))


@dataclass(frozen=True)
class Siblings:
    """The runs of one dataset with several seeds, and their spread."""

    scores: list[Score]
    spread: Spread


def runs_with_other_seeds(score: Score) -> Siblings | None:
    """The published scores of the same user's same dataset, recipe and suite, by seed.

    None if there is only one run. Of several runs with one seed, only the first counts.
    """
    found = (
        Score.objects.filter(
            submission__state=State.PUBLISHED,
            submission__user=score.submission.user,
            submission__track=score.submission.track,
            submission__scale=score.submission.scale,
            manifest_sha256=score.manifest_sha256,
            recipe_sha256=score.recipe_sha256,
            suite_sha256=score.suite_sha256,
            metric_version=score.metric_version,
        )
        .only("submission", "seed", "label", *RANKING)
        .order_by("seed", "id")
    )
    by_seed: dict[int, Score] = {}
    for run in found:
        by_seed.setdefault(run.seed, run)
    scores = [run for run in by_seed.values() if run.value is not None]
    spread = spread_of_runs([run.value for run in scores if run.value is not None])
    return Siblings(scores, spread) if spread is not None else None
