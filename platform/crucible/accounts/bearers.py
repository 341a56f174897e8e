"""`Authorization: Bearer …`: the one way from a request's token to a user."""

from __future__ import annotations

from allauth.core.internal import ratelimit
from django.contrib.auth.models import User
from django.http import HttpRequest

from crucible.accounts.scopes import Scope
from crucible.accounts.services import token_authenticate
from submissions.failures import Failure

# Refused tokens from one address, so that a broken script does not keep the database busy.
REFUSED = {"token_refused": "30/m/ip"}
STATUS_OF = {
    "not_authorised": 401, "out_of_scope": 403, "not_permitted": 403, "too_many_requests": 429,
}  # fmt: skip


def bearer_user(request: HttpRequest, secret: str, scope: Scope) -> User:
    """The user of a token that may do this; raises `Failure` as `token_authenticate` does."""
    try:
        return token_authenticate(secret=secret, scope=scope)
    except Failure as failure:
        if failure.code == "not_authorised" and not ratelimit.consume(
            request, app="crucible", action="token_refused", config=REFUSED, limit_get=True
        ):
            raise Failure(
                "too_many_requests", "too many refused tokens came from your address"
            ) from None
        raise
