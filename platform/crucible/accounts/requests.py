"""Shared by all views: the types of requests, and messages for refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from submissions.failures import Failure


class PageRequest(HttpRequest):
    """A request for a page, which htmx may have sent for a part of it."""

    htmx: HtmxDetails


class UserRequest(PageRequest):
    """Behind `login_required`: the user is logged in."""

    user: User


class TokenRequest(HttpRequest):
    """Behind `Token`: `auth` is the token's user."""

    auth: User


@contextmanager
def refusal_as_message(request: HttpRequest) -> Iterator[None]:
    """Turns a `Failure` in its body into a message on the next page; 403 for `not_permitted`."""
    try:
        yield
    except Failure as failure:
        if failure.code == "not_permitted":
            raise PermissionDenied(failure.message) from failure
        messages.error(request, f"{failure.message}. {failure.next_step}")
