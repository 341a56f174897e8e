"""The texts of a board: the table of its page, and the document of the API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from django.http import Http404, QueryDict
from django.template.loader import render_to_string

from crucible.boards.kept import Version, board_version, kept
from crucible.boards.rows import Row, leaderboard_rows, row_documents
from crucible.leaderboard.selectors import values_under
from crucible.leaderboard.suites import board_suite
from crucible.plots import Dot, dots_on_one_axis, interval_of
from evaluation.metrics import DEFAULT_METRIC_VERSION, headline, versions_that_differ

PAGE = 100  # rows; as many as have rank intervals: see places.py


class Board(NamedTuple):
    """A board and the options of its page."""

    track: str
    scale: str
    metric_version: str = DEFAULT_METRIC_VERSION
    with_marked: bool = True


class Line(NamedTuple):
    """A row of the table: `others` are its scores under the other metric versions."""

    row: Row
    dot: Dot | None
    others: tuple[float | None, ...]


def board_table(board: Board, page: int = 1) -> str:
    """The HTML table of a page of a board; the empty string while nothing is published.

    Raises `Http404` for a page that the board does not have; that is not cached.
    """
    return _table_of(board, page, board_version(board.track, board.scale))


def board_document(track: str, scale: str) -> str:
    """A whole board as JSON; its addresses begin with the path, without scheme and host."""
    return _document_of(Board(track, scale), board_version(track, scale))


def board_refresh(track: str, scale: str) -> None:
    """Makes the texts that most visitors request, unless cached: first page and document."""
    board = Board(track, scale)
    now = Version(board_version(track, scale).text)
    _table_of(board, 1, now)
    _document_of(board, now)


def _rows_of(board: Board, version: Version) -> list[Row]:
    """The rows, never older than `version`: texts made from them are cached under it."""
    name = "-".join(map(str, ("rows", *board)))
    return kept(name, Version(version.text), lambda: leaderboard_rows(**board._asdict()))


def _table_of(board: Board, page: int, version: Version) -> str:
    name = "-".join(map(str, ("table", *board, page)))
    return kept(name, version, lambda: _table(board, page, _rows_of(board, version)))


def _document_of(board: Board, version: Version) -> str:
    name = f"document-{board.track}-{board.scale}"
    return kept(name, version, lambda: _document(board, _rows_of(board, version)))


def _document(board: Board, rows: Sequence[Row]) -> str:
    return json.dumps(
        {
            "track": board.track,
            "scale": board.scale,
            "metric_version": board.metric_version,
            "rows": row_documents(rows),
        }
    )


def _table(board: Board, page: int, rows: Sequence[Row]) -> str:
    shown = rows[PAGE * (page - 1) : PAGE * page]
    if not shown and page > 1:
        raise Http404
    if not shown:
        return ""
    suite = board_suite(board.scale)
    label, versions = headline(suite), versions_that_differ(suite)
    others = [version for version in versions if version != board.metric_version]
    pages = -(-len(rows) // PAGE)
    context = board._asdict() | {
        "lines": board_lines(shown, others),
        "label": label,
        "other_versions": others,
        "query": _query_of(board),
        "page": page,
        "pages": pages,
        "previous": page - 1,
        "next": page + 1 if page < pages else 0,
        "total": len(rows),
        "some_marked": any(row.marks for row in shown),
        "some_repeated": any(row.score.read_again for row in shown),
    }
    return render_to_string("boards/table.html", context)


def _query_of(board: Board) -> QueryDict:
    """The query string of this board's page, without the page number."""
    query = QueryDict(mutable=True)
    if board.metric_version != DEFAULT_METRIC_VERSION:
        query["metric"] = board.metric_version
    if not board.with_marked:
        query["marked"] = "hide"
    return query


def board_lines(rows: Sequence[Row], versions: Sequence[str]) -> list[Line]:
    """Rows with their dots on one axis, and their scores under `versions` unless withheld."""
    scores = [row.score for row in rows]
    values = values_under(versions, [score.submission_id for score in scores])
    dots = dots_on_one_axis(
        [(e.value, e.interval or interval_of(e.value, e.stderr)) for e in scores]
    )
    return [
        Line(
            row,
            dot,
            tuple(
                None
                if row.score.figure in row.withheld
                else values.get((row.score.submission_id, version))
                for version in versions
            ),
        )
        for row, dot in zip(rows, dots, strict=True)
    ]
