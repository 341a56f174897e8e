"""The texts of a board: the table of its page, and the document of the API."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from django.http import Http404, QueryDict
from django.template.loader import render_to_string

from crucible.boards.baselines import baselines_of
from crucible.boards.columns import PREDICTED, columns_of
from crucible.boards.kept import Version, board_version, kept
from crucible.boards.lines import Line, Shown, chosen, lines_of
from crucible.boards.predictions import SiteCalibration, board_calibration
from crucible.boards.rows import Row, leaderboard_rows, row_documents
from crucible.boards.spreads import board_spread
from crucible.boards.view import BoardView
from crucible.leaderboard.suites import board_suite
from evaluation.metrics import DEFAULT_METRIC_VERSION, headline, versions_that_differ

PAGE = 100  # rows; as many as have rank intervals: see places.py


class Board(NamedTuple):
    """A board under a metric version, with or without the rows that reviewers marked."""

    track: str
    scale: str
    metric_version: str = DEFAULT_METRIC_VERSION
    with_marked: bool = True


def board_table(view: BoardView, page: int = 1) -> str:
    """The HTML table of a page of a board; the empty string while it has nothing to show.

    Raises `Http404` for a page that the board does not have; that is not cached.
    """
    return _table_of(view, page, board_version(view.track, view.scale))


def board_export(view: BoardView) -> list[Line]:
    """Every line of a view, in the order of its pages."""
    shown = _chosen(view, board_version(view.track, view.scale))
    return lines_of(view, shown, ())


class Leaders(NamedTuple):
    """Of a board: how many rows, the first one, and how many may hold the first rank."""

    total: int
    first: Row | None
    tied: int


def board_leaders(track: str, scale: str) -> Leaders:
    """For the home page; cached like the board's texts."""
    return _leaders_of(Board(track, scale), board_version(track, scale))


def board_document(track: str, scale: str) -> str:
    """A whole board as JSON; its addresses begin with the path, without scheme and host."""
    return _document_of(Board(track, scale), board_version(track, scale))


def board_refresh(track: str, scale: str) -> None:
    """Makes the texts that most visitors request, unless cached: first page and document."""
    view = BoardView.of_query(track, scale, QueryDict())
    now = Version(board_version(track, scale).text)
    _table_of(view, 1, now)
    _document_of(_board_of(view), now)
    _leaders_of(Board(track, scale), now)


def _board_of(view: BoardView) -> Board:
    return Board(view.track, view.scale, view.metric_version, view.with_marked)


def _rows_of(board: Board, version: Version) -> list[Row]:
    """The rows, never older than `version`: texts made from them are cached under it."""
    name = "-".join(map(str, ("rows", *board)))
    return kept(name, Version(version.text), lambda: leaderboard_rows(**board._asdict()))


def _chosen(view: BoardView, version: Version) -> list[Shown]:
    """The rows and baselines of the view in its order."""
    label = headline(board_suite(view.scale))
    baselines = baselines_of(view.scale, view.metric_version, label)
    return chosen(view, _rows_of(_board_of(view), version), baselines)


def _table_of(view: BoardView, page: int, version: Version) -> str:
    """Cached for the usual views only: of others there is no end."""
    if not view.is_usual:
        return _table(view, page, version)
    name = "-".join(map(str, ("table", *_board_of(view), page)))
    return kept(name, version, lambda: _table(view, page, version))


def _document_of(board: Board, version: Version) -> str:
    name = f"document-{board.track}-{board.scale}"
    return kept(name, version, lambda: _document(board, _rows_of(board, version)))


def _leaders_of(board: Board, version: Version) -> Leaders:
    def make() -> Leaders:
        rows = _rows_of(board, version)
        ranked = [row for row in rows if row.rank is not None]
        tied = sum(row.places is not None and row.places.best == 1 for row in ranked)
        return Leaders(len(rows), ranked[0] if ranked else None, tied)

    return kept(f"leaders-{board.track}-{board.scale}", version, make)


def _document(board: Board, rows: Sequence[Row]) -> str:
    return json.dumps(
        {
            "track": board.track,
            "scale": board.scale,
            "metric_version": board.metric_version,
            "rows": row_documents(rows),
        }
    )


def _table(view: BoardView, page: int, version: Version) -> str:
    everything = _chosen(view, version)
    shown = everything[PAGE * (page - 1) : PAGE * page]
    if not shown and page > 1:
        raise Http404
    if not shown and view.is_usual:
        return ""
    suite = board_suite(view.scale)
    label, versions = headline(suite), versions_that_differ(suite)
    others = [one for one in versions if one != view.metric_version]
    pages = -(-len(everything) // PAGE)
    lines = lines_of(view, shown, others)
    rows = [line.row for line in lines if line.row]
    context = {
        "view": view,
        "lines": lines,
        "label": label,
        "heads": _heads(view, label),
        "other_versions": others,
        "query": view.query(),
        "page": page,
        "pages": pages,
        "previous": page - 1,
        "next": page + 1 if page < pages else 0,
        "total": len(everything),
        "some_marked": any(row.marks for row in rows),
        "some_repeated": any(row.score.read_again for row in rows),
        "some_baselines": any(line.baseline for line in lines),
        "columns": len(view.columns),
        "predicted": _predicted(view, lines),
        "spread": board_spread(view.track, view.scale, suite, view.metric_version),
    }
    return render_to_string("boards/table.html", context)


class Predicted(NamedTuple):
    """What the hint of the predicted column says: the calibration, and how often which refusal."""

    found: SiteCalibration
    refusals: list[tuple[str, int]]


def _predicted(view: BoardView, lines: Sequence[Line]) -> Predicted | None:
    """None where the column is not shown."""
    found = board_calibration(view.scale) if PREDICTED in view.columns else None
    if found is None:
        return None
    place = view.columns.index(PREDICTED)
    reasons = Counter(line.values[place].reason for line in lines if line.values[place].reason)
    return Predicted(found, sorted(reasons.items()))


class Head(NamedTuple):
    """The head of a column: its sorting link, and how the table is sorted by it now."""

    title: str
    query: str
    sorted: str  # the value of aria-sort: ascending, descending or none


def _heads(view: BoardView, label: str) -> dict[str, Head | list[Head]]:
    """Those of the fixed columns by name, and those of the chosen ones as `chosen`."""
    known = columns_of(view.scale)

    def head(name: str, title: str, largest_first: bool = True) -> Head:
        now = view.sort == name
        descending = not view.descending if now else largest_first
        query = view.query(sort=name, descending=descending).urlencode()
        word = ("descending" if view.descending else "ascending") if now else "none"
        return Head(title, query, word)

    return {
        "rank": head("rank", "Rank", largest_first=False),
        "name": head("name", "Submission", largest_first=False),
        "score": head("score", label),
        "chosen": [head(name, known[name].title) for name in view.columns],
    }
