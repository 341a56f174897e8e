"""Reads scores: their tasks, their other metric versions, and which boards there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from msgspec import structs

from crucible.entries.models import Submission
from crucible.leaderboard.models import RANKING, Score, figure_of
from evaluation.metrics import DEFAULT_METRIC_VERSION, ScoreFigures
from evaluation.provenance import Provenance
from submissions.states import Track

# Of the provenance, what the API shows beside the figures: they say what was trained on.
OF_TRAINING = ("loss", "tokens", "unique_tokens", "epochs")


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
    """A score in three parts: its figures, its tasks, and its provenance."""
    if score is None:
        return {"score": None, "tasks": {}, "provenance": {}}
    figures = [field.name for field in structs.fields(ScoreFigures) if field.name != "tasks"]
    provenance = [field.name for field in structs.fields(Provenance)]
    return {
        "score": {name: getattr(score, name) for name in (*figures, *OF_TRAINING)},
        "tasks": score.tasks,
        "provenance": {
            name: getattr(score, name) for name in provenance if name not in OF_TRAINING
        },
    }
