"""Reads scores: their tasks, their other metric versions, and which boards there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from crucible.entries.models import Submission
from crucible.leaderboard.models import RANKING, Score, figure_of
from evaluation.metrics import DEFAULT_METRIC_VERSION
from submissions.states import Track


def values_under(
    versions: Sequence[str], submissions: Sequence[int]
) -> dict[tuple[int, str], float | None]:
    """What ranks these submissions under these metric versions, by submission and version."""
    found = Score.objects.filter(submission__in=submissions, metric_version__in=versions)
    return {
        (submission, version): values[RANKING.index(figure_of(label))]
        for submission, version, label, *values in found.order_by().values_list(
            "submission_id", "metric_version", "label", *RANKING
        )
    }


def scores_of(submission: Submission) -> tuple[Score | None, list[Score]]:
    """Its score under the site's metric version, and those under the others."""
    scores = {score.metric_version: score for score in submission.scores.order_by("metric_version")}
    score = scores.pop(DEFAULT_METRIC_VERSION, None)
    return score, list(scores.values())


def boards() -> list[tuple[str, str]]:
    """Track and scale of every board that this site keeps."""
    return [(track.value, scale) for track in Track for scale in settings.CRUCIBLE_SCALES]


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
