"""The permissions that code asks for; the migration `0003_groups` says which role has which.

`is_staff` opens the door of the admin and is asked for nowhere else. The administrator, a
superuser, has every permission.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from submissions.failures import Failure


class Permission(StrEnum):
    """By Django's name: `app.codename`. The admin asks for further ones, table by table."""

    SUBMIT = "entries.add_submission"
    SEE = "entries.view_submission"
    CANCEL = "entries.cancel_submission"
    RETRY = "entries.retry_submission"
    HOLD = "entries.hold_submission"
    PRIORITISE = "entries.prioritise_submission"
    JUDGE = "review.add_verdict"
    REVOKE = "accounts.change_apitoken"
    LINK = "accounts.link_account"
    READ_METRICS = "jobs.read_metrics"


_WORDS = {
    Permission.SUBMIT: "submit datasets",
    Permission.SEE: "see unpublished submissions of others",
    Permission.CANCEL: "cancel submissions of others",
    Permission.RETRY: "retry submissions of others",
    Permission.HOLD: "hold or release submissions",
    Permission.PRIORITISE: "change priorities",
    Permission.JUDGE: "judge findings",
    Permission.REVOKE: "revoke tokens of others",
    Permission.LINK: "hand out links to accounts",
    Permission.READ_METRICS: "read the gauges",
}


def may(user: Any, permission: Permission) -> bool:
    """Whether the user, or a visitor, has the permission; a closed account has none."""
    return bool(user.has_perm(permission.value))


def require(user: Any, permission: Permission) -> None:
    """Raises `not_permitted` if the user lacks the permission."""
    if not may(user, permission):
        raise Failure("not_permitted", f"your account may not {_WORDS[permission]}")
