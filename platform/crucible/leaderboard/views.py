"""The boards, and the health page."""

from __future__ import annotations

from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from crucible.leaderboard.selectors import boards, leaderboard_rows
from evaluation.metrics import DEFAULT_METRIC_VERSION
from training_recipes.scales import load_scale


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The first board: what most visitors come for."""
    track, scale = boards()[0]
    return redirect("leaderboard", track=track, scale=scale)


@require_safe
def leaderboard(request: HttpRequest, track: str, scale: str) -> HttpResponse:
    """One board with its plot and the links to the others."""
    if (track, scale) not in boards():
        raise Http404
    rows = leaderboard_rows(track=track, scale=scale)
    context = {
        "track": track,
        "scale": load_scale(scale),
        "tracks": list(dict.fromkeys(t for t, _ in boards())),
        "scales": list(dict.fromkeys(s for _, s in boards())),
        "rows": rows,
        "some_repeated": any(row.score.times_read for row in rows),
        "label": "SMOKE" if scale == "smoke" else "CORE",
        "metric_version": DEFAULT_METRIC_VERSION,
    }
    return render(request, "leaderboard/board.html", context)


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200 when the site answers and its database does; for `make up` and for monitors."""
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return JsonResponse({"ok": True})
