"""The API's documents of submissions."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.urls import reverse

from crucible.entries.models import Submission
from crucible.entries.selectors import submissions_of
from crucible.intake.services import may_be_retried
from crucible.jobs.models import Attempt
from crucible.pages.stages import StageView, stages_of, waiting_for

LISTED = 200  # submissions, the newest


def submission_document(submission: Submission, one_of_many: bool = False) -> dict[str, Any]:
    """The API's document of a submission; in lists without the position in the queue."""
    waiting = submission.waiting_for if one_of_many else waiting_for(submission)
    return {
        "id": submission.id,
        "name": submission.name,
        "track": submission.track,
        "scale": submission.scale,
        "seed": submission.seed,
        "user": submission.user.get_username(),
        "state": submission.state,
        "url": reverse("submission", args=[submission.id]),
        "created_at": submission.created_at.isoformat(),
        "waiting_for": waiting,
        "retry": may_be_retried(submission, submission.user),
        "stages": [_stage_document(stage) for stage in stages_of(submission)],
        "failure": submission.failure,
    }


def submission_documents(user: Any, mine: bool) -> list[dict[str, Any]]:
    """The newest of a user's own submissions, or of all that the user may see."""
    found: QuerySet[Submission] = (
        submissions_of(user) if mine else Submission.objects.visible_to(user).select_related("user")
    )
    attempts = Prefetch("attempts", Attempt.objects.defer("result", "failure"))
    return [
        submission_document(submission, one_of_many=True)
        for submission in found.prefetch_related(attempts)[:LISTED]
    ]


def _stage_document(view: StageView) -> dict[str, Any]:
    heard_at = view.attempt.heard_at if view.attempt else None
    return {
        "stage": view.stage.value,
        "state": view.state,
        "attempt": view.attempt.number if view.attempt else 0,
        "step": view.progress.get("step"),
        "of": view.progress.get("of"),
        "unit": view.progress.get("unit"),
        "message": view.progress.get("message"),
        "metrics": view.metrics,
        "eta_seconds": view.eta_seconds,
        "heard_at": heard_at.isoformat() if heard_at else None,
        "seconds": view.seconds,
    }
