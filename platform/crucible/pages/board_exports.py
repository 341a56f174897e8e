"""Boards to take away: CSV and JSON of what a page shows, a feed, a badge, a citation."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.contrib.syndication.views import Feed
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.feedgenerator import Atom1Feed
from django.views.decorators.http import require_safe

from crucible.boards.columns import PREDICTED
from crucible.boards.lines import Line
from crucible.boards.predictions import Prediction
from crucible.boards.texts import board_export
from crucible.boards.view import BoardView
from crucible.leaderboard.models import Baseline, Score
from crucible.leaderboard.selectors import boards
from evaluation.metrics import DEFAULT_METRIC_VERSION
from submissions.states import State
from training_recipes.scales import canonical_name

NEWEST = 50  # entries of a feed
OF_PREDICTION = (PREDICTED, "predicted_low", "predicted_high", "measured", "no_prediction")
# A spreadsheet takes a cell that begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _view(request: HttpRequest, track: str, scale: str) -> BoardView:
    if (track, canonical_name(scale)) not in boards():
        raise Http404
    return BoardView.of_query(track, canonical_name(scale), request.GET)


@require_safe
def board_csv(request: HttpRequest, track: str, scale: str) -> HttpResponse:
    """The rows of all pages of a view, in the page's order."""
    view = _view(request, track, scale)
    text = io.StringIO()
    documents = [_document(view, line) for line in board_export(view)]
    writer = csv.writer(text)
    writer.writerow(_names(view))
    writer.writerows([[_cell(document[name]) for name in _names(view)] for document in documents])
    answer = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{view.track}-{view.scale}.csv"'
    return answer


@require_safe
def board_json(request: HttpRequest, track: str, scale: str) -> HttpResponse:
    """The same as JSON."""
    view = _view(request, track, scale)
    rows = [_document(view, line) for line in board_export(view)]
    return JsonResponse(
        {"track": view.track, "scale": view.scale, "metric_version": view.metric_version,
         "rows": rows}
    )  # fmt: skip


def _names(view: BoardView) -> list[str]:
    fixed = ["kind", "rank", "best_rank", "worst_rank", "id", "name", "by", "published", "label"]
    fixed += ["score", "stderr", "low", "high"]
    chosen = [part for name in view.columns for part in _parts(name)]
    return [*fixed, *chosen, "deviations"]


def _parts(column: str) -> tuple[str, ...]:
    """The fields of a column: one, but of the predicted one its interval and reason too."""
    return OF_PREDICTION if column == PREDICTED else (column,)


def _values(value: Any) -> tuple[Any, ...]:
    """The values of these fields."""
    if not isinstance(value, Prediction):
        return (value,)
    middle, half = value.value, value.half_width
    low, high = (None, None) if middle is None or half is None else (middle - half, middle + half)
    return middle, low, high, value.measured, value.reason


def _document(view: BoardView, line: Line) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, value in zip(view.columns, line.values, strict=True):
        cells |= zip(_parts(name), _values(value), strict=True)
    if line.baseline is not None:
        one = line.baseline
        low, high = one.interval or (None, None)
        return {
            "kind": "baseline", "rank": None, "best_rank": None, "worst_rank": None, "id": one.id,
            "name": one.name, "by": one.origin, "published": one.made_at, "label": "CORE",
            "score": one.value, "stderr": one.stderr, "low": low, "high": high, **cells,
            "deviations": "; ".join(one.deviations),
        }  # fmt: skip
    assert line.row is not None
    row, score = line.row, line.row.score
    low, high = (score.interval or (None, None)) if row.value is not None else (None, None)
    return {
        "kind": "entry", "rank": row.rank,
        "best_rank": row.places.best if row.places else None,
        "worst_rank": row.places.worst if row.places else None,
        "id": score.submission_id, "name": score.name, "by": score.user,
        "published": score.created_at.isoformat(), "label": score.label, "score": row.value,
        "stderr": score.stderr if row.value is not None else None, "low": low, "high": high,
        **cells, "deviations": "",
    }  # fmt: skip


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return "" if value is None else value


class BoardFeed(Feed):
    """The newest entries of a board, as Atom."""

    feed_type = Atom1Feed

    def get_object(self, request: HttpRequest, track: str, scale: str) -> tuple[str, str]:
        view = _view(request, track, scale)
        return view.track, view.scale

    def title(self, board: tuple[str, str]) -> str:
        return f"Crucible: {board[0]}, {board[1]}"

    def link(self, board: tuple[str, str]) -> str:
        return reverse("leaderboard", args=board)

    def items(self, board: tuple[str, str]) -> list[Score]:
        return list(
            Score.objects.filter(
                submission__state=State.PUBLISHED, submission__track=board[0],
                submission__scale=board[1], metric_version=DEFAULT_METRIC_VERSION,
            ).select_related("submission__user").order_by("-created_at")[:NEWEST]
        )  # fmt: skip

    def item_title(self, item: Any) -> str:
        value = "no score" if item.value is None else f"{item.label} {100 * item.value:.1f}"
        return f"{item.submission.name}: {value}"

    def item_description(self, item: Any) -> str:
        return str(item.submission.description)

    def item_link(self, item: Any) -> str:
        return reverse("submission", args=[item.submission_id])

    def item_author_name(self, item: Any) -> str:
        return str(item.submission.user)

    def item_pubdate(self, item: Any) -> Any:
        return item.created_at

    def item_updateddate(self, item: Any) -> Any:
        return item.created_at


def _published(submission_id: int) -> Score:
    return get_object_or_404(
        Score.objects.select_related("submission__user"), submission=submission_id,
        submission__state=State.PUBLISHED, metric_version=DEFAULT_METRIC_VERSION,
    )  # fmt: skip


@require_safe
def badge(request: HttpRequest, submission_id: int) -> HttpResponse:
    """A published score as a small picture for a README."""
    score = _published(submission_id)
    value = "–" if score.value is None else f"{100 * score.value:.1f}"
    label = f"{score.label} {score.submission.scale}"
    widths = {"left": 10 + 7 * len(label), "right": 14 + 8 * len(value)}
    context = {"label": label, "value": value, **widths, "width": sum(widths.values())}
    answer = render(request, "boards/badge.svg", context, content_type="image/svg+xml")
    answer["Cache-Control"] = "public, max-age=300"
    return answer


@require_safe
def citation(request: HttpRequest, submission_id: int) -> HttpResponse:
    """A published entry as BibTeX."""
    score = _published(submission_id)
    address = request.build_absolute_uri(reverse("submission", args=[submission_id]))
    score_note = f"Dataset {score.manifest_sha256}, metric version {score.metric_version}"
    fields = {
        "title": _bibtex(f"{score.submission.name} ({score.submission.scale})"),
        "author": _bibtex(str(score.submission.user)),
        "year": str(score.created_at.year),
        "howpublished": f"\\url{{{address}}}",
        "note": _bibtex(f"{score_note}, commit {score.code_commit}"),
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items()]
    text = f"@misc{{crucible-{submission_id},\n" + ",\n".join(lines) + "\n}\n"
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def _bibtex(text: str) -> str:
    """Without what BibTeX or LaTeX would take for a command."""
    special = {"\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}",
               "^": "\\textasciicircum{}"}  # fmt: skip
    escaped = "".join(special.get(sign, f"\\{sign}" if sign in "%$#&_" else sign) for sign in text)
    return " ".join(escaped.split())


@require_safe
def baseline(request: HttpRequest, baseline_id: int) -> HttpResponse:
    """A published run of others, with its tasks and how it departs from the recipe."""
    found = get_object_or_404(Baseline, id=baseline_id)
    score = found.scores.get(DEFAULT_METRIC_VERSION, {})
    context = {
        "baseline": found,
        "versions": sorted(found.scores.items(), reverse=True),
        "tasks": sorted(score.get("tasks", {}).items()),
    }
    return render(request, "boards/baseline.html", context)
