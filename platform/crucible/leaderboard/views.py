"""The boards, and the health page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from crucible.leaderboard.compare_page import compare_page, scores_to_choose
from crucible.leaderboard.kept import board_version, kept
from crucible.leaderboard.rows import Row, leaderboard_rows
from crucible.leaderboard.selectors import boards, values_under
from crucible.leaderboard.suites import board_suite
from crucible.plots import Dot, dots_on_one_axis, interval_of
from evaluation.metrics import DEFAULT_METRIC_VERSION, headline, versions_that_differ
from submissions.failures import Failure
from training_recipes.scales import load_scale

PAGE = 100  # rows; as many as have places: see comparison.py


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
    suite = board_suite(scale)
    versions = versions_that_differ(suite)
    version = request.GET.get("metric", DEFAULT_METRIC_VERSION)
    if version not in versions:
        raise Http404
    with_marked = request.GET.get("marked") != "hide"
    page = max(1, _page_number(request.GET.get("page", "")))
    context = {
        "track": track,
        "scale": load_scale(scale),
        "tracks": list(dict.fromkeys(t for t, _ in boards())),
        "scales": list(dict.fromkeys(s for _, s in boards())),
        "page": page,
        "with_marked": with_marked,
        "label": headline(suite),
        "tasks": len(suite.tasks),
        "metric_version": version,
        "default_version": DEFAULT_METRIC_VERSION,
        "metric_versions": versions,
        "other_versions": [other for other in versions if other != version],
    }
    name = f"board-{track}-{scale}-{version}-{with_marked}-{page}"
    context["table"] = kept(name, board_version(track, scale), lambda: _table(context))
    return render(request, "leaderboard/board.html", context)


def _table(context: dict[str, Any]) -> str:
    """The rows of a page of a board as everybody sees them; the empty string where there are none.

    What it shows follows from the board's rows and from what the name in `leaderboard` says.
    """
    rows = leaderboard_rows(
        track=context["track"], scale=context["scale"].name,
        metric_version=context["metric_version"], with_marked=context["with_marked"],
    )  # fmt: skip
    shown = rows[PAGE * (context["page"] - 1) : PAGE * context["page"]]
    if not shown and context["page"] > 1:
        raise Http404
    if not shown:
        return ""
    cells = _cells(shown, context["label"], context["other_versions"])
    context |= {
        "rows": list(zip(shown, cells, strict=True)),
        "total": len(rows),
        "pages": -(-len(rows) // PAGE),
        "some_marked": any(row.marks for row in shown),
        "some_repeated": any(row.entry.read_again for row in shown),
    }
    return render_to_string("leaderboard/table.html", context)


def _cells(rows: Sequence[Row], label: str, versions: Sequence[str]) -> list[str]:
    """What each row shows besides its rank and places, which a publication moves."""
    entries = [row.entry for row in rows]
    others = values_under(versions, [entry.submission_id for entry in entries])
    dots = dots_on_one_axis(
        [(e.value, e.interval or interval_of(e.value, e.stderr)) for e in entries]
    )
    return [
        _cells_of_row(
            row._replace(rank=None, places=None), dot, label,
            tuple(None if row.entry.figure in row.withheld
                  else others.get((row.entry.submission_id, version)) for version in versions),
        )
        for row, dot in zip(rows, dots, strict=True)
    ]  # fmt: skip


@lru_cache(maxsize=1000)
def _cells_of_row(row: Row, dot: Dot | None, label: str, others: tuple[float | None, ...]) -> str:
    """Everything that is shown is an argument: the same arguments give the same text."""
    context = {"row": row, "dot": dot, "label": label, "others": others}
    return render_to_string("leaderboard/row.html", context)


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Two published submissions side by side, `?s=1&s=2`; without them the form to choose."""
    context: dict[str, Any] = {"page": None, "problem": None, "chosen": []}
    try:
        chosen = [_number(text) for text in request.GET.getlist("s") if text]
        context["chosen"] = chosen
        if len(chosen) == 2:
            context["page"] = compare_page(*chosen)
        elif len(chosen) > 2:
            context["problem"] = "choose two submissions, not more"
    except Failure as failure:
        context["problem"] = failure.message
    context["scores"] = scores_to_choose(context["chosen"])
    status = 422 if context["problem"] else 200
    return render(request, "leaderboard/compare.html", context, status=status)


def _page_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Failure("not_found", "a submission is named by its number")
    return int(text)


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200 when the site answers and its database does; for `make up` and for monitors."""
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return JsonResponse({"ok": True})
