"""Who may sign up: everybody, who has an invitation, or nobody (`CRUCIBLE_SIGN_UP`)."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone

from crucible.accounts.models import Invitation
from crucible.accounts.services import digest_of
from submissions.failures import Failure
from submissions.names import checked_name

KEPT_IN = "invitation"  # the session's key: the digest of the invitation that was opened
DAYS = 14
LONGEST_NOTE = 80


def invitation_create(
    *, note: str, made_by: User | None, days: float = DAYS
) -> tuple[Invitation, str]:
    """A new invitation for one account, and its secret, which is not stored.

    Raises `refused` for a note that holds what nobody can see.
    """
    secret = secrets.token_urlsafe(32)
    made = Invitation.objects.create(
        digest=digest_of(secret),
        note=checked_name(note, "the note", LONGEST_NOTE) if note.strip() else "",
        made_by=made_by,
        expires_at=timezone.now() + timedelta(days=days),
    )
    return made, secret


def invitation_open(request: HttpRequest, secret: str) -> bool:
    """Keeps the invitation in the visitor's session; False if it is used, too old or unknown."""
    found = _valid(digest_of(secret))
    if found:
        request.session[KEPT_IN] = digest_of(secret)
    return found


def may_sign_up(request: HttpRequest) -> bool:
    """Whether this visitor may make an account."""
    if settings.CRUCIBLE_SIGN_UP == "invitation":
        return _valid(request.session.get(KEPT_IN, ""))
    return bool(settings.CRUCIBLE_SIGN_UP == "open")


def invitation_use(request: HttpRequest, user: User) -> None:
    """Spends the visitor's invitation on the new account; raises `Failure` if another was quicker.

    Call it in the transaction that creates the account.
    """
    digest = request.session.pop(KEPT_IN, "")
    if settings.CRUCIBLE_SIGN_UP != "invitation":
        return
    now = timezone.now()
    unused = Invitation.objects.filter(digest=digest, used_at=None, expires_at__gt=now)
    if not unused.update(used_at=now, used_by=user):
        raise Failure("refused", "this invitation has been used")


def _valid(digest: str) -> bool:
    return Invitation.objects.filter(
        digest=digest, used_at=None, expires_at__gt=timezone.now()
    ).exists()
