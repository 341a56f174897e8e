"""Reads submissions, each query starting at what the user may see."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Prefetch, QuerySet
from django.urls import reverse

from crucible.entries.models import Submission
from crucible.entries.services import may_be_retried
from crucible.jobs.models import Attempt
from crucible.jobs.selectors import stages_of, waiting_for
from submissions.failures import Failure
from training_recipes.cost import Cost, cost_of
from training_recipes.scales import load_scale


def submission_get(*, user: object, submission_id: int) -> Submission:
    """A submission that `user` may see; `not_found` otherwise, whether or not it exists."""
    submission = (
        Submission.objects.visible_to(user)
        .select_related("user")
        .prefetch_related("attempts")
        .filter(id=submission_id)
        .first()
    )
    if submission is None:
        raise Failure("not_found", f"there is no submission {submission_id} that you may see")
    return submission


def submissions_of(user: Any) -> QuerySet[Submission]:
    """A user's own, the newest first, with what is shown of their stages."""
    attempts = Prefetch("attempts", Attempt.objects.defer("result", "failure"))
    return Submission.objects.filter(user=user).select_related("user").prefetch_related(attempts)


def may_look_inside(user: Any, submission: Submission) -> bool:
    """Logs, events and the failure's details are for the owner and for staff."""
    return bool(user.is_authenticated and (user.is_staff or submission.user_id == user.pk))


def scale_costs() -> list[Cost]:
    """What one submission costs at each scale of this site, the cheapest first."""
    return [cost_of(load_scale(name)) for name in settings.CRUCIBLE_SCALES]


def submission_document(submission: Submission, one_of_many: bool = False) -> dict[str, Any]:
    """The API's form of a submission; the place in the queue is left out of lists."""
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
        "stages": [stage.as_document() for stage in stages_of(submission)],
        "failure": submission.failure,
    }
