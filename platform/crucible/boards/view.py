"""What a visitor chose to see of a board. All of it stands in the address of the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.http import Http404, QueryDict

from crucible.boards.columns import MOST_CHOSEN, columns_of, default_columns
from crucible.leaderboard.suites import board_suite
from evaluation.metrics import DEFAULT_METRIC_VERSION, headline, versions_that_differ

EVERYTHING, ENTRIES, BASELINES = "everything", "entries", "baselines"
CONTAMINATION = {"": "any", "none": "none found", "marked": "found and marked"}
RANK = "rank"  # the order of a board: the best first
BY_TEXT = ("name", "user")
FIXED = (RANK, *BY_TEXT, "score", "published")  # what any board sorts by, beside its columns
LONGEST = 100  # characters of a search


@dataclass(frozen=True)
class BoardView:
    """A board and the options of its page. `columns` are names, in the order of the table."""

    track: str
    scale: str
    metric_version: str = DEFAULT_METRIC_VERSION
    with_marked: bool = True
    shown: str = EVERYTHING
    contamination: str = ""
    search: str = ""
    user: str = ""
    sort: str = RANK
    descending: bool = False
    columns: tuple[str, ...] = ()

    @classmethod
    def of_query(cls, track: str, scale: str, query: QueryDict) -> BoardView:
        """Reads the options of an address; raises `Http404` for values that do not exist."""
        suite = board_suite(scale)
        known = columns_of(scale)
        sort = query.get("sort", RANK)
        view = cls(
            track,
            scale,
            query.get("metric", DEFAULT_METRIC_VERSION),
            query.get("marked") != "hide",
            query.get("show", EVERYTHING),
            query.get("contamination", ""),
            query.get("q", "").strip()[:LONGEST],
            query.get("user", "").strip()[:LONGEST],
            sort.removeprefix("-"),
            sort.startswith("-"),
            tuple(name for name in known if name in query.getlist("column")),
        )
        right = (
            view.metric_version in versions_that_differ(suite)
            and view.shown in (EVERYTHING, ENTRIES, BASELINES)
            and view.contamination in CONTAMINATION
            and view.sort in (*FIXED, *known)
            and set(query.getlist("column")) <= {*known}
            and len(view.columns) <= MOST_CHOSEN
        )
        if not right:
            raise Http404
        return view if view.columns else replace(view, columns=default_columns(headline(suite)))

    @property
    def is_usual(self) -> bool:
        """Whether it is the board as everybody sees it first; metric version and marks aside."""
        plain = BoardView(self.track, self.scale, self.metric_version, self.with_marked)
        return replace(self, columns=()) == plain and self.columns == self._usual_columns()

    @property
    def is_filtered(self) -> bool:
        """Whether rows may be left out besides marked ones."""
        return bool(self.search or self.user or self.contamination or self.shown != EVERYTHING)

    def query(self, **changes: Any) -> QueryDict:
        """The query string of this view, without the page; `changes` replace fields."""
        view = replace(self, **changes)
        query = QueryDict(mutable=True)
        values = {
            "metric": (view.metric_version, DEFAULT_METRIC_VERSION),
            "marked": ("" if view.with_marked else "hide", ""),
            "show": (view.shown, EVERYTHING),
            "contamination": (view.contamination, ""),
            "q": (view.search, ""),
            "user": (view.user, ""),
            "sort": ("-" * view.descending + view.sort, RANK),
        }
        for name, (value, usual) in values.items():
            if value != usual:
                query[name] = value
        if view.columns != self._usual_columns():
            query.setlist("column", list(view.columns))
        return query

    def _usual_columns(self) -> tuple[str, ...]:
        return default_columns(headline(board_suite(self.scale)))
