"""The leaderboards, and the comparison of two submissions."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from crucible.boards.columns import PREDICTED, columns_of
from crucible.boards.predictions import target_of
from crucible.boards.texts import board_table
from crucible.boards.view import CONTAMINATION, BoardView
from crucible.leaderboard.selectors import boards
from crucible.leaderboard.suites import board_suite
from crucible.pages.compare import compare_page, scores_to_choose
from evaluation.metrics import headline, versions_that_differ
from submissions.failures import Failure
from training_recipes.scales import canonical_name, load_scale


@require_safe
def first(request: HttpRequest) -> HttpResponse:
    """Redirects to the first board."""
    track, scale = boards()[0]
    return redirect("leaderboard", track=track, scale=scale)


@require_safe
def leaderboard(request: HttpRequest, track: str, scale: str) -> HttpResponse:
    """One board, with links to the others."""
    if (track, canonical_name(scale)) not in boards():
        raise Http404
    if scale != canonical_name(scale):
        return redirect("leaderboard", track=track, scale=canonical_name(scale))
    suite = board_suite(scale)
    view = BoardView.of_query(track, scale, request.GET)
    page = max(1, _page_number(request.GET.get("page", "")))
    known = columns_of(scale)
    context = {
        "track": track,
        "scale": load_scale(scale),
        "view": view,
        "query": view.query(),
        "tracks": list(dict.fromkeys(t for t, _ in boards())),
        "scales": list(dict.fromkeys(s for _, s in boards())),
        "label": headline(suite),
        "tasks": len(suite.tasks),
        "metric_versions": versions_that_differ(suite),
        "contamination": CONTAMINATION.items(),
        "choices": [(name, column.title, name in view.columns) for name, column in known.items()],
        "target": target_of(scale) if PREDICTED in known else "",
        "table": board_table(view, page),
    }
    return render(request, "boards/board.html", context)


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Two published submissions side by side, `?s=1&s=2`; without them, the form."""
    context: dict[str, Any] = {"page": None, "problem": None, "chosen": []}
    try:
        chosen = [_number(text) for text in request.GET.getlist("s") if text]
        context["chosen"] = chosen
        if len(chosen) == 2:
            context["page"] = compare_page(*chosen)
        elif len(chosen) > 2:
            context["problem"] = "choose only two submissions"
    except Failure as failure:
        context["problem"] = failure.message
    context["scores"] = scores_to_choose(context["chosen"])
    status = 422 if context["problem"] else 200
    return render(request, "boards/compare.html", context, status=status)


def _page_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Failure("not_found", "give the number of each submission")
    return int(text)
