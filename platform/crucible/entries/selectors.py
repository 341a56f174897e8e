"""Reads submissions; each query starts at what the user may see."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from crucible.entries.models import Submission
from crucible.roles.permissions import Permission, may
from submissions.failures import Failure


def submission_get(*, user: Any, submission_id: int) -> Submission:
    """A submission that `user` may see. Otherwise raises `not_found`, whether or not it exists."""
    submission = (
        Submission.objects.visible_to(user).select_related("user").filter(id=submission_id).first()
    )
    if submission is None:
        raise Failure("not_found", f"there is no submission {submission_id} that you may see")
    return submission


def submissions_of(user: Any) -> QuerySet[Submission]:
    """A user's own submissions, the newest first."""
    return Submission.objects.filter(user=user).select_related("user")


def may_look_inside(user: Any, submission: Submission) -> bool:
    """Logs, events and the failure's details are for the owner, and for who may see all."""
    return submission.user_id == user.pk or may(user, Permission.SEE)
