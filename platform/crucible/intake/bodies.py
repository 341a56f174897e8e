"""Who may send how large a body: decided by its `Content-Length`, before anything of it is read.

Django reads a form before any view sees the request, and stores its files on the way.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve

from crucible.intake.transfers import transfers
from crucible.paths import SMALL_BODY
from submissions.failures import Failure
from training_recipes.cost import size_text

FORM = "submission_new"  # the page that takes shards
SHARD = "shard_put"  # the API's operation that does; it decides itself, before it reads
MARGIN = 1 << 20  # bytes of a form besides its shards


class BodyLimit:
    """Middleware: behind the one that knows the user, before any that reads a body."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = request.headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length) <= SMALL_BODY:
            return self.get_response(request)
        page = _page_of(request)
        if page == SHARD:
            return self.get_response(request)
        if page == FORM:
            return self._form(request, int(length))
        known = request.path.startswith("/api/") or request.user.is_authenticated
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE if known else SMALL_BODY
        return self.get_response(request) if int(length) <= limit else too_large(limit)

    def _form(self, request: HttpRequest, length: int) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if length > settings.CRUCIBLE_MAX_UPLOAD + MARGIN:
            return too_large(settings.CRUCIBLE_MAX_UPLOAD)
        try:
            with transfers.one(request.user, length):
                return self.get_response(request)
        except Failure as failure:
            return _plain(f"{failure.message}. {failure.next_step}", 429)


def _page_of(request: HttpRequest) -> str:
    try:
        return resolve(request.path_info).url_name or ""
    except Resolver404:
        return ""


def too_large(limit: int) -> HttpResponse:
    """413, and no more of this connection: its body is not read."""
    return _plain(f"Send less: this page takes {size_text(limit)}.", 413)


def _plain(sentence: str, status: int) -> HttpResponse:
    answer = HttpResponse(f"{sentence}\n", content_type="text/plain; charset=utf-8", status=status)
    answer["Connection"] = "close"
    return answer
