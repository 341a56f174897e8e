"""Refuses a request whose address holds a NUL: no path, number or name has one.

The database cannot store or compare it, so that every query with it would be an error of ours.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse

from submissions.failures import Failure


def no_nul(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Django's middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            failure = Failure("refused", "the address holds a NUL character")
            if request.path_info.startswith("/api/"):
                return JsonResponse(failure.as_dict(), status=422)
            return HttpResponseBadRequest(f"{failure.message}\n", "text/plain")
        return get_response(request)

    return middleware
