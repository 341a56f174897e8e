"""Reads the leaderboard: one ranked list for each track and scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse

from crucible.entries.models import Submission
from crucible.entries.states import State, Track
from crucible.leaderboard.comparison import places_on_board
from crucible.leaderboard.models import RANKING, Score, figure_of
from crucible.leaderboard.suites import board_suite
from crucible.plots import Dot, dots_on_one_axis, interval_of
from crucible.review.selectors import Marks, marks_of
from evaluation.metrics import (
    DEFAULT_METRIC_VERSION,
    MMLU,
    aggregates,
    centred_error,
    versions_that_differ,
)
from evaluation.suite import Suite
from evaluation.ties import Places
from training_recipes.scales import load_scale

# All that is read of a score, its submission and its user for a row: boards are long.
ON_THE_BOARD = (
    "metric_version", "created_at", "label", "core", "core_stderr", "extended", "mmlu", "smoke",
    "smoke_stderr", "mean", "mean_stderr", "intervals", "records_sha256", "suite_sha256", "loss",
    "epochs", "submission__name", "submission__scale", "submission__user__username",
)  # fmt: skip
PAGE = 100  # rows; as many as have places: see comparison.py
CHANCE_LEVEL = 0.05  # one-sided, of a single task


@dataclass(frozen=True)
class Row:
    """A place on the board; `rank` is None where there is nothing to rank by.

    `comparable` is False for a score by another version of the recipe or of the suite. `places` are
    those that the test questions leave open; `other` are the scores under the other metric versions
    of the board. `marks` are of reviewers; `withheld` are the names of the means that a task enters
    which they excluded.
    """

    rank: int | None
    submission: Submission
    score: Score
    dot: Dot | None
    comparable: bool
    places: Places | None
    other: list[Score | None]
    marks: Marks | None
    withheld: set[str]

    @property
    def value(self) -> float | None:
        """The figure that ranks, unless it is withheld."""
        return None if self.score.figure in self.withheld else self.score.value


def competition_ranks(values: Sequence[float | None]) -> list[int | None]:
    """Ranks of values sorted from the best to the worst, None last: 1, 2, 2, 4, None."""
    ranks: list[int | None] = []
    for position, value in enumerate(values):
        if value is None:
            ranks.append(None)
        elif position and value == values[position - 1]:
            ranks.append(ranks[-1])
        else:
            ranks.append(position + 1)
    return ranks


@dataclass(frozen=True)
class Standing:
    """A score's place in the order of its board, before anything else of it is read."""

    score_id: int
    submission_id: int
    value: float | None  # by which it is ranked
    comparable: bool


def leaderboard_rows(
    *, track: str, scale: str, metric_version: str = DEFAULT_METRIC_VERSION,
    with_marked: bool = True, page: int | None = None,
) -> tuple[list[Row], int]:  # fmt: skip
    """Published submissions, the best first, and how many there are; equal scores share a rank.

    Without the marked ones the others are ranked as if those were not there. `page` counts from 1
    and has PAGE rows; None: all of them.
    """
    suite = board_suite(scale)
    scores = Score.objects.filter(
        submission__state=State.PUBLISHED, submission__track=track, submission__scale=scale,
        metric_version=metric_version,
    )  # fmt: skip
    marks = marks_of(scores.values("submission"))
    if not with_marked:
        scores = scores.exclude(submission__in=marks)
    withheld = {number: means_with(suite, mark.excluded) for number, mark in marks.items()}
    standings = _standings(scores, load_scale(scale).recipe_sha256, suite.hash, withheld)
    ranks = competition_ranks([standing.value for standing in standings])
    first = 0 if page is None else PAGE * (page - 1)
    shown = slice(first, None if page is None else first + PAGE)
    found = (  # whether or not they are on the board by now: `standings` says who was
        Score.objects.select_related("submission", "submission__user")
        .only(*ON_THE_BOARD)
        .in_bulk([standing.score_id for standing in standings[shown]])
    )
    ordered = [found[standing.score_id] for standing in standings[shown]]
    ranked = [found[s.score_id] for s in standings[shown] if s.value is not None]
    # They are those of the first rows; see comparison.py.
    places = dict(zip([s.id for s in ranked], places_on_board(ranked), strict=True))
    versions = [version for version in versions_that_differ(suite) if version != metric_version]
    others = _other_versions(ordered, versions)
    dots = dots_on_one_axis([(score.value, _interval(score)) for score in ordered])
    rows = [
        Row(rank, score.submission, score, dot, standing.comparable,
            None if first else places.get(score.id),
            [others.get((score.submission_id, version)) for version in versions],
            marks.get(score.submission_id), withheld.get(score.submission_id, set()))
        for rank, standing, score, dot in zip(
            ranks[shown], standings[shown], ordered, dots, strict=True
        )
    ]  # fmt: skip
    return rows, len(standings)


def _standings(
    scores: QuerySet[Score], recipe: str, suite: str, withheld: Mapping[int, set[str]]
) -> list[Standing]:
    """The order of a board: what can be ranked from the best down, then the rest; older first."""
    standings = []
    columns = ("id", "submission_id", "label", "recipe_sha256", "suite_sha256", *RANKING)
    for number, submission, label, its_recipe, its_suite, *values in scores.values_list(*columns):
        figure = figure_of(label)
        comparable = (its_recipe, its_suite) == (recipe, suite)
        counts = comparable and figure not in withheld.get(submission, ())
        value = dict(zip(RANKING, values, strict=True))[figure] if counts else None
        standings.append(Standing(number, submission, value, comparable))
    return sorted(standings, key=lambda s: (s.value is None, -(s.value or 0.0), s.submission_id))


def means_with(suite: Suite, excluded: Sequence[str]) -> set[str]:
    """The means of the suite, and MMLU, that one of these tasks enters: none is a partial one."""
    found = {
        name
        for name, tasks in aggregates(suite).items()
        if any(task.label in excluded for task in tasks)
    }
    return found | {"mmlu"} if MMLU in excluded else found


def _interval(score: Score) -> tuple[float, float] | None:
    if score.interval is not None:
        return score.interval[0], score.interval[1]
    return interval_of(score.value, score.stderr)


def _other_versions(
    scores: Sequence[Score], versions: Sequence[str]
) -> dict[tuple[int, str], Score]:
    """The scores of the same submissions under these metric versions, by submission and version."""
    found = Score.objects.filter(
        submission__in=[score.submission_id for score in scores], metric_version__in=versions
    ).only("submission_id", "metric_version", "label", *RANKING)
    return {(score.submission_id, score.metric_version): score for score in found}


def other_versions_of(score: Score) -> list[Score]:
    """The scores of the same submission under the other metric versions."""
    found = Score.objects.filter(submission=score.submission_id).exclude(id=score.id)
    return list(found.order_by("metric_version"))


def task_rows(score: Score) -> list[dict[str, Any]]:
    """The tasks of a score by name, each with its dot on a shared axis.

    `beats_chance` is None where it is not known.
    """
    # By name: PostgreSQL's jsonb keeps no order of its own.
    tasks = [{"label": label, **value} for label, value in sorted(score.tasks.items())]
    dots = dots_on_one_axis([(task["centered"], _centred_interval(task)) for task in tasks])
    return [
        task | {"dot": dot, "beats_chance": _beats_chance(task)}
        for task, dot in zip(tasks, dots, strict=True)
    ]


def _centred_interval(task: dict[str, Any]) -> tuple[float, float] | None:
    baseline = task["baseline"]
    if task.get("interval") is None:
        return interval_of(task["centered"], centred_error(task["stderr"], baseline))
    low, high = ((edge - baseline) / (1 - baseline) for edge in task["interval"])
    return low, high


def _beats_chance(task: dict[str, Any]) -> bool | None:
    p = task.get("chance_p")
    return None if p is None else p < CHANCE_LEVEL


def boards() -> list[tuple[str, str]]:
    """Track and scale of every board that this site keeps."""
    return [(track.value, scale) for track in Track for scale in settings.CRUCIBLE_SCALES]


def row_document(row: Row) -> dict[str, Any]:
    """The API's form of a row."""
    score = row.score
    return {
        "rank": row.rank,
        "comparable": row.comparable,
        "id": row.submission.id,
        "name": row.submission.name,
        "user": row.submission.user.get_username(),
        "score": row.value,
        "score_label": score.label,
        "stderr": score.stderr,
        "interval": score.interval,
        "places": [row.places.best, row.places.worst] if row.places else None,
        **{
            name: None if name in row.withheld else getattr(score, name)
            for name in ("core", "extended", "mmlu", "smoke", "mean")
        },
        "marks": vars(row.marks) if row.marks else None,
        "loss": score.loss,
        "epochs": score.epochs,
        "published_at": score.created_at.isoformat(),
        "url": reverse("submission", args=[row.submission.id]),
    }


def score_document(score: Score | None) -> dict[str, Any]:
    """A score in three parts: the figures, the tasks, and what they rest on."""
    if score is None:
        return {"score": None, "tasks": {}, "provenance": {}}
    figures = ["metric_version", "label", "core", "core_stderr", "extended", "extended_stderr",
               "mmlu", "mmlu_stderr", "smoke", "smoke_stderr", "mean", "mean_stderr", "intervals",
               "categories", "missing_tasks", "loss", "tokens", "unique_tokens",
               "epochs"]  # fmt: skip
    provenance = ["suite_sha256", "recipe_sha256", "manifest_sha256", "tokenizer_sha256",
                  "records_sha256", "seed", "code_commit", "training_engine", "evaluation_engine",
                  "hardware", "versions", "seconds", "flops"]  # fmt: skip
    return {
        "score": {name: getattr(score, name) for name in figures},
        "tasks": score.tasks,
        "provenance": {name: getattr(score, name) for name in provenance},
    }
