"""Reads the leaderboard: one ranked list for each track and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.urls import reverse

from crucible.entries.models import Submission
from crucible.entries.states import State, Track
from crucible.leaderboard.models import Score
from crucible.plots import Dot, dots_on_one_axis
from evaluation.metrics import DEFAULT_METRIC_VERSION, centred_error
from evaluation.suite import load_suite, suite_of
from training_recipes.scales import load_scale


@dataclass(frozen=True)
class Row:
    """A place on the board; `rank` is None where there is nothing to rank by.

    `comparable` is False for a score by another version of the recipe or of the suite.
    """

    rank: int | None
    submission: Submission
    score: Score
    dot: Dot | None
    comparable: bool


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


def leaderboard_rows(
    *, track: str, scale: str, metric_version: str = DEFAULT_METRIC_VERSION
) -> list[Row]:
    """Published submissions, the best first; equal scores share a rank, older ones first."""
    scores = (
        Score.objects.filter(
            submission__state=State.PUBLISHED, submission__track=track, submission__scale=scale,
            metric_version=metric_version,
        ).select_related("submission", "submission__user")
    )  # fmt: skip
    recipe = load_scale(scale).recipe_sha256
    suite = load_suite(suite_of(scale)).hash

    def comparable(score: Score) -> bool:
        return score.recipe_sha256 == recipe and score.suite_sha256 == suite

    def best_first(entry: tuple[float | None, Score]) -> tuple[bool, float, int]:
        value, score = entry
        return value is None, -(value or 0.0), score.submission_id

    entries = sorted(
        ((score.value if comparable(score) else None, score) for score in scores), key=best_first
    )
    ranks = competition_ranks([value for value, _ in entries])
    dots = dots_on_one_axis([(score.value, score.stderr) for _, score in entries])
    return [
        Row(rank, score.submission, score, dot, comparable(score))
        for rank, (_, score), dot in zip(ranks, entries, dots, strict=True)
    ]


def task_rows(score: Score) -> list[dict[str, Any]]:
    """The tasks of a score by name, each with its dot on a shared axis."""
    # By name: PostgreSQL's jsonb keeps no order of its own.
    tasks = [{"label": label, **value} for label, value in sorted(score.tasks.items())]
    errors = [centred_error(task["stderr"], task["baseline"]) for task in tasks]
    values = [(task["centered"], error) for task, error in zip(tasks, errors, strict=True)]
    dots = dots_on_one_axis(values)
    return [task | {"dot": dot} for task, dot in zip(tasks, dots, strict=True)]


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
        "score": score.value,
        "score_label": score.label,
        "stderr": score.stderr,
        "core": score.core,
        "extended": score.extended,
        "mmlu": score.mmlu,
        "smoke": score.smoke,
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
               "mmlu", "smoke", "smoke_stderr", "categories", "missing_tasks", "loss",
               "tokens", "unique_tokens", "epochs"]  # fmt: skip
    provenance = ["suite_sha256", "recipe_sha256", "manifest_sha256", "tokenizer_sha256", "seed",
                  "code_commit", "training_engine", "evaluation_engine", "hardware", "versions",
                  "seconds", "flops"]  # fmt: skip
    return {
        "score": {name: getattr(score, name) for name in figures},
        "tasks": score.tasks,
        "provenance": {name: getattr(score, name) for name in provenance},
    }
