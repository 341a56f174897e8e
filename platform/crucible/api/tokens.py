"""Who may call a route: each asks for the scope of the token that it needs."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from ninja.security import HttpBearer

from crucible.accounts.bearers import bearer_user
from crucible.accounts.scopes import Scope


class Token(HttpBearer):
    """`Authorization: Bearer …` with a valid token of this scope; its user is `request.auth`."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> User:
        return bearer_user(request, token, self.scope)


class OptionalToken(Token):
    """For public routes: a valid token shows more; without a token, the public part."""

    def __call__(self, request: HttpRequest) -> User | AnonymousUser | None:
        if "Authorization" not in request.headers:
            return AnonymousUser()
        return super().__call__(request)


READ, SUBMIT = Token(Scope.READ), Token(Scope.SUBMIT)
PUBLIC = OptionalToken(Scope.READ)
