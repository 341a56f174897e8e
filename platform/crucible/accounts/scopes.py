"""What an API token may do: a part of what its user may do.

This is the only place that knows scopes. `read` and `submit` say what a token may be used for; each
route asks for one of them. `review` and `organise` say which of its user's powers over others a
token carries along; without them it acts as a participant, whoever made it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from django.contrib.auth.models import User

from crucible.roles.permissions import Permission, may


class Scope(StrEnum):
    """One thing that a token may be allowed."""

    READ = "read"
    SUBMIT = "submit"
    REVIEW = "review"
    ORGANISE = "organise"


WORDS = {
    Scope.READ: "read your submissions and their results",
    Scope.SUBMIT: "upload, submit, cancel and retry",
    Scope.REVIEW: "see everybody's submissions",
    Scope.ORGANISE: "see and act on everybody's submissions, and read the gauges",
}
USUAL = (Scope.READ, Scope.SUBMIT)
# The permissions that each carries. One that is not here opens nothing by token.
CARRIED = {
    Scope.READ: frozenset(),
    Scope.SUBMIT: frozenset({Permission.SUBMIT}),
    Scope.REVIEW: frozenset({Permission.SEE, Permission.JUDGE}),
    Scope.ORGANISE: frozenset(
        {
            Permission.SEE, Permission.CANCEL, Permission.RETRY, Permission.HOLD,
            Permission.PRIORITISE, Permission.REVOKE, Permission.READ_METRICS,
        }
    ),
}  # fmt: skip


def scopes_in(text: str) -> tuple[Scope, ...]:
    """The scopes of a stored or typed list, separated by blanks; raises `ValueError` on others."""
    wanted = {Scope(word) for word in text.replace(",", " ").split()}
    return tuple(scope for scope in Scope if scope in wanted)


def scopes_offered(user: User) -> tuple[Scope, ...]:
    """The scopes that this user's tokens can have: everybody's, and those of the user's powers."""
    own = {
        # A reviewer, too, sees all: no reason to offer the scope of organisers.
        Scope.REVIEW: CARRIED[Scope.REVIEW],
        Scope.ORGANISE: CARRIED[Scope.ORGANISE] - CARRIED[Scope.REVIEW],
    }
    return tuple(
        scope for scope in Scope if scope in USUAL or any(may(user, one) for one in own[scope])
    )


def powers_limit(user: User, scopes: Collection[Scope]) -> User:
    """Leaves this object only the permissions that the scopes carry; never save it.

    They are kept where Django's backend looks for them first: `may` and every `has_perm` see these
    and no others, whether the user has them by a group, by name or as a superuser.
    """
    carried = {permission.value for scope in scopes for permission in CARRIED[scope]}
    kept = user.get_all_permissions() & carried
    user.is_staff = user.is_superuser = False  # a superuser has every permission unasked
    user._perm_cache = user._user_perm_cache = kept  # type: ignore[attr-defined]
    user._group_perm_cache = set()  # type: ignore[attr-defined]
    return user
