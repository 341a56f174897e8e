"""What an API token may do: a part of what its user may do.

This is the only place that knows scopes. `read` and `submit` say what a token may be used for; each
route asks for one of them. `review` and `organise` say which of its user's powers over others a
token carries along; without them it acts as a participant, whoever made it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from django.contrib.auth.models import User


class Scope(StrEnum):
    """One thing that a token may be allowed."""

    READ = "read"
    SUBMIT = "submit"
    REVIEW = "review"
    ORGANISE = "organise"


WORDS = {
    Scope.READ: "read your submissions and their results",
    Scope.SUBMIT: "upload, submit, cancel and retry",
    Scope.REVIEW: "see what only reviewers see",
    Scope.ORGANISE: "act on everybody's submissions, and read the gauges",
}
USUAL = (Scope.READ, Scope.SUBMIT)
REVIEW_APP = "review."  # its permissions are a reviewer's


def scopes_in(text: str) -> tuple[Scope, ...]:
    """The scopes of a stored or typed list, separated by blanks; raises `ValueError` on others."""
    wanted = {Scope(word) for word in text.replace(",", " ").split()}
    return tuple(scope for scope in Scope if scope in wanted)


def scopes_offered(user: User) -> tuple[Scope, ...]:
    """The scopes that this user's tokens can have."""
    return tuple(Scope) if user.is_staff else USUAL


def powers_limit(user: User, scopes: Collection[Scope]) -> User:
    """Takes from this object the powers over others that the scopes leave out; never save it.

    Permissions are kept where Django's backend looks for them first, so that every `has_perm` of
    the site sees the limited set.
    """
    if Scope.REVIEW in scopes and Scope.ORGANISE in scopes:
        return user
    kept: set[str] = set()
    if user.is_staff or user.is_superuser:
        if Scope.REVIEW in scopes:
            kept = {name for name in user.get_all_permissions() if name.startswith(REVIEW_APP)}
        if Scope.ORGANISE in scopes:
            kept = {name for name in user.get_all_permissions() if not name.startswith(REVIEW_APP)}
    user.is_staff = user.is_staff and (Scope.REVIEW in scopes or Scope.ORGANISE in scopes)
    user.is_superuser = False  # has every permission without being asked
    user._perm_cache = kept  # type: ignore[attr-defined]
    return user
