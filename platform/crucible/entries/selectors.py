"""Reads submissions, each query starting at what the user may see."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse

from crucible.entries.models import Submission
from crucible.jobs.selectors import stages_of
from submissions.failures import Failure
from training_recipes.cost import Cost, cost_of
from training_recipes.scales import load_scale


def submission_get(*, user: object, submission_id: int) -> Submission:
    """A submission that `user` may see; `not_found` otherwise, whether or not it exists."""
    submission = (
        Submission.objects.visible_to(user)
        .select_related("user", "upload")
        .filter(id=submission_id)
        .first()
    )
    if submission is None:
        raise Failure("not_found", f"there is no submission {submission_id} that you may see")
    return submission


def submissions_of(user: Any) -> QuerySet[Submission]:
    """A user's own, the newest first."""
    return Submission.objects.filter(user=user).select_related("user")


def may_look_inside(user: Any, submission: Submission) -> bool:
    """Logs, events and the failure's details are for the owner and for staff."""
    return bool(user.is_authenticated and (user.is_staff or submission.user_id == user.pk))


def scale_costs() -> list[Cost]:
    """What one submission costs at each scale of this site, the cheapest first."""
    return [cost_of(load_scale(name)) for name in settings.CRUCIBLE_SCALES]


def submission_document(submission: Submission) -> dict[str, Any]:
    """The API's form of a submission."""
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
        "waiting_for": submission.waiting_for,
        "stages": [stage.as_document() for stage in stages_of(submission)],
        "failure": submission.failure,
    }
