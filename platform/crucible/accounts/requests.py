"""The kinds of request, for type checkers: who asks decides what a view may do."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class PageRequest(HttpRequest):
    """A request for a page, which htmx may have sent for a part of it."""

    htmx: HtmxDetails


class UserRequest(PageRequest):
    """Behind `login_required`: somebody is logged in."""

    user: User


class TokenRequest(HttpRequest):
    """Behind `Token`: `auth` is the token's user."""

    auth: User
