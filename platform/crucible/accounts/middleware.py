"""Pages about signing in are kept by no browser and no proxy."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers


def private_pages(answer: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Says so for all of django-allauth's pages: some show keys, codes or addresses."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = answer(request)
        match = request.resolver_match
        if match is not None and match.func.__module__.startswith("allauth."):
            add_never_cache_headers(response)
        return response

    return middleware
