"""What a board looks like, as text: the table of its page, and the document of the API."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from django.db import transaction
from django.http import Http404
from django.template.loader import render_to_string

from crucible.entries.models import Submission
from crucible.entries.states import State
from crucible.leaderboard.kept import board_version, kept
from crucible.leaderboard.rows import Row, leaderboard_rows, row_documents
from crucible.leaderboard.selectors import values_under
from crucible.leaderboard.suites import board_suite
from crucible.plots import Dot, dots_on_one_axis, interval_of
from evaluation.metrics import DEFAULT_METRIC_VERSION, headline, versions_that_differ

logger = logging.getLogger(__name__)
PAGE = 100  # rows; as many as have places: see places.py


class Board(NamedTuple):
    """Which board, and how one looks at it."""

    track: str
    scale: str
    metric_version: str = DEFAULT_METRIC_VERSION
    with_marked: bool = True


def board_table(board: Board, page: int = 1) -> str:
    """A page of a board as everybody sees it; the empty string while nothing is published.

    Raises `Http404` for a page that the board does not have, which is not kept.
    """
    version = board_version(board.track, board.scale)
    name = "-".join(map(str, ("table", *board, page)))
    return kept(name, version, lambda: _table(board, page, _rows(board, version)))


def board_document(track: str, scale: str) -> str:
    """A whole board as JSON, its addresses without the site."""
    board, version = Board(track, scale), board_version(track, scale)
    return kept(f"document-{track}-{scale}", version, lambda: _document(board, version))


def board_prepare(*, submission: Submission) -> None:
    """Makes what most visitors ask for of a submission's board, before they wait for it.

    For a change, in its transaction or after it; without one, or for a submission that never was on
    a board, it does nothing. What goes wrong is only logged: whoever looks first makes it then.
    """
    if submission.state not in (State.PUBLISHED, State.DISQUALIFIED):
        return
    try:
        with transaction.atomic():
            board_table(Board(submission.track, submission.scale))
            board_document(submission.track, submission.scale)
    except Exception:
        logger.exception("a board could not be made ready")


@lru_cache(maxsize=2)  # table, document and further pages are of the same rows
def _rows(board: Board, version: str) -> list[Row]:
    return leaderboard_rows(**board._asdict())


def _document(board: Board, version: str) -> str:
    rows = row_documents(_rows(board, version))
    return json.dumps({"track": board.track, "scale": board.scale,
                       "metric_version": board.metric_version, "rows": rows})  # fmt: skip


def _table(board: Board, page: int, rows: Sequence[Row]) -> str:
    shown = rows[PAGE * (page - 1) : PAGE * page]
    if not shown and page > 1:
        raise Http404
    if not shown:
        return ""
    suite = board_suite(board.scale)
    label, versions = headline(suite), versions_that_differ(suite)
    others = [version for version in versions if version != board.metric_version]
    context = board._asdict() | {
        "rows": list(zip(shown, _cells(shown, label, others), strict=True)),
        "label": label,
        "default_version": DEFAULT_METRIC_VERSION,
        "other_versions": others,
        "page": page,
        "pages": -(-len(rows) // PAGE),
        "total": len(rows),
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
