"""Creates, revokes and checks API tokens."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from crucible.accounts.models import ApiToken
from crucible.accounts.scopes import USUAL, Scope, powers_limit
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from crucible.roles.permissions import Permission, require
from submissions.failures import Failure
from submissions.names import checked_name

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PREFIX = "crucible_"
SHOWN = 6  # letters of a token that its list shows
LONGEST_LABEL = 80


def digest_of(secret: str) -> str:
    """The stored hash of a secret. Plain SHA-256 is enough: it has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_create(
    *, user: User, label: str, scopes: Iterable[Scope] = USUAL, days: float | None = None
) -> tuple[ApiToken, str]:
    """Returns a new token and its secret, which is not stored and never shown again.

    It ends after `days`, or after `CRUCIBLE_TOKEN_DAYS`. Raises `refused` for a label that holds
    what nobody can see.
    """
    label = checked_name(label, "the token's label", LONGEST_LABEL)
    secret = PREFIX + secrets.token_urlsafe(32)
    lifetime = timedelta(days=settings.CRUCIBLE_TOKEN_DAYS if days is None else days)
    token = ApiToken.objects.create(
        user=user,
        label=label,
        prefix=secret[len(PREFIX) :][:SHOWN],
        digest=digest_of(secret),
        scopes=" ".join(scope for scope in Scope if scope in set(scopes)),
        expires_at=timezone.now() + lifetime,
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


def tokens_revoke(*, user: User) -> int:
    """Revokes every token of this user; how many were not revoked yet."""
    return ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())


def token_authenticate(*, secret: str, scope: Scope) -> User:
    """The token's user, with no more powers than the token has; stores the time of use.

    Raises `Failure`: `not_authorised`, `out_of_scope`, or `too_many_requests` beyond
    `CRUCIBLE_TOKEN_REQUESTS` a minute.
    """
    token = (
        ApiToken.objects.select_related("user")
        .filter(digest=digest_of(secret), user__is_active=True)
        .first()
    )
    if token is None:
        raise Failure("not_authorised", "the site does not know this token")
    for ended_at, how in ((token.revoked_at, "was revoked"), (token.expires_at, "expired")):
        if ended_at is not None and ended_at <= timezone.now():
            raise Failure("not_authorised", f"this token {how} on {ended_at:%Y-%m-%d}")
    if scope not in token.may():
        raise Failure(
            "out_of_scope", f"this needs the scope {scope}; the token has: {token.scopes}"
        )
    _count(token)
    return powers_limit(token.user, token.may())


def _count(token: ApiToken) -> None:
    """Counts this request. Requests at the same instant may count as one, which does no harm."""
    minute = int(time.time()) // 60
    before = token.requests if token.minute == minute else 0
    if before >= settings.CRUCIBLE_TOKEN_REQUESTS:
        allowed = settings.CRUCIBLE_TOKEN_REQUESTS
        raise Failure("too_many_requests", f"a token may send {allowed} requests a minute")
    ApiToken.objects.filter(id=token.id).update(
        minute=minute, requests=before + 1, last_used_at=timezone.now()
    )
