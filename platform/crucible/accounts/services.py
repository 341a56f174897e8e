"""Creates, revokes and checks API tokens."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from crucible.accounts.models import ApiToken
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from crucible.roles.permissions import Permission, require
from submissions.names import checked_name

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PREFIX = "crucible_"


def digest_of(secret: str) -> str:
    """The stored hash of a token. Plain SHA-256 is enough: the secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_create(*, user: User, label: str) -> tuple[ApiToken, str]:
    """Returns a new token and its secret, which is not stored and never shown again.

    Raises `refused` for a label that holds what nobody can see.
    """
    label = checked_name(label, "the token's label", 80)
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user, label=label, prefix=secret[len(PREFIX) :][:6], digest=digest_of(secret)
    )
    return token, secret


@transaction.atomic
def token_revoke(*, user: User, token_id: int, actor: User | None = None) -> bool:
    """Revokes a token of `user`; False if there is none or it is revoked already.

    `actor`: who asks, if not the user. Raises `not_permitted` if they may not.
    """
    if actor is not None:
        require(actor, Permission.REVOKE)
    tokens = ApiToken.objects.filter(id=token_id, user=user, revoked_at=None)
    revoked = bool(tokens.update(revoked_at=timezone.now()))
    if revoked and actor is not None:
        act_record(actor=actor, what=ActKind.TOKEN_REVOKED, about=f"token {token_id}", on_whom=user)
    return revoked


def token_authenticate(*, secret: str) -> User | None:
    """The active user of a valid token, or None; stores the time of use, at most once a minute."""
    token = (
        ApiToken.objects.select_related("user")
        .filter(digest=digest_of(secret), revoked_at=None, user__is_active=True)
        .first()
    )
    if token is None:
        return None
    now = timezone.now()
    if token.last_used_at is None or (now - token.last_used_at).total_seconds() > 60:
        ApiToken.objects.filter(id=token.id).update(last_used_at=now)
    return token.user
