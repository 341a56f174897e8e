"""The lines of a board's table: entries and baselines in one order, filtered and sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crucible.boards.baselines import ShownBaseline
from crucible.boards.columns import PREDICTED, Column, columns_of, values_from_tasks
from crucible.boards.predictions import (
    Prediction,
    SiteCalibration,
    board_calibration,
    prediction_of,
)
from crucible.boards.rows import Row
from crucible.boards.view import BASELINES, ENTRIES, RANK, BoardView
from crucible.leaderboard.selectors import values_under
from crucible.leaderboard.suites import board_suite
from crucible.plots import Dot, dots_on_one_axis, interval_of
from evaluation.suite import Suite


@dataclass(frozen=True)
class Found:
    """What cells need beside rows: `from_tasks` by column and submission, and the calibration."""

    from_tasks: Mapping[str, Mapping[int, float | None]]
    calibrated: SiteCalibration | None


@dataclass(frozen=True)
class Line:
    """One line: of an entry (`row`) or a baseline. `others`: scores under other metric versions.

    `cells` are the texts of the chosen columns, `values` what they were made from.
    """

    row: Row | None
    baseline: ShownBaseline | None
    dot: Dot | None
    others: tuple[float | None, ...]
    cells: tuple[str, ...]
    values: tuple[Any, ...]


Shown = Row | ShownBaseline


def chosen(view: BoardView, rows: Sequence[Row], baselines: Sequence[ShownBaseline]) -> list[Shown]:
    """What the view shows, in its order; unknown values come last, whatever the direction."""
    entries = [] if view.shown == BASELINES else [row for row in rows if _passes(view, row)]
    # Baselines have no team and no findings: a filter on either leaves them out.
    others = view.shown != ENTRIES and not view.user and not view.contamination
    kept = [one for one in baselines if others and _found(view.search, one.name, one.origin)]
    if view.sort == RANK:
        merged = _merged(entries, kept)
        return merged[::-1] if view.descending else merged
    everything: list[Shown] = [*entries, *kept]
    column = columns_of(view.scale).get(view.sort)
    found = _found_for([column] if column else [], view, entries)
    keys = [(_key(view, column, one, found), one) for one in everything]
    known = [pair for pair in keys if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=view.descending)
    return [one for _, one in known] + [one for key, one in keys if key is None]


def lines_of(view: BoardView, shown: Sequence[Shown], versions: Sequence[str]) -> list[Line]:
    """The lines of a page, with dots on one axis and the scores under `versions`."""
    rows = [one for one in shown if isinstance(one, Row)]
    known = columns_of(view.scale)
    columns = [known[name] for name in view.columns]
    found = _found_for(columns, view, rows)
    others = values_under(versions, [row.score.submission_id for row in rows])
    dots = dots_on_one_axis([_dot(one) for one in shown])
    lines = []
    for one, dot in zip(shown, dots, strict=True):
        values = tuple(_value(column, one, found, view) for column in columns)
        cells = tuple(
            "–" if value is None else column.text(value)
            for column, value in zip(columns, values, strict=True)
        )
        if isinstance(one, Row):
            under = tuple(_under(one, version, others) for version in versions)
            lines.append(Line(one, None, dot, under, cells, values))
        else:
            lines.append(Line(None, one, dot, (None,) * len(versions), cells, values))
    return lines


def _passes(view: BoardView, row: Row) -> bool:
    if view.user and view.user.casefold() != row.score.user.casefold():
        return False
    if view.contamination == "none" and row.marks:
        return False
    if view.contamination == "marked" and not row.marks:
        return False
    return _found(view.search, row.score.name, row.score.user)


def _found(search: str, *texts: str) -> bool:
    return all(any(word in text.casefold() for text in texts) for word in search.casefold().split())


def _merged(rows: Sequence[Row], baselines: Sequence[ShownBaseline]) -> list[Shown]:
    """Both in order of score, at equal scores entries first; those without a rank last."""
    ranked = [row for row in rows if row.rank is not None]
    known = [one for one in baselines if one.value is not None]
    both: list[Shown] = sorted([*ranked, *known], key=lambda one: -(one.value or 0.0))
    return [*both, *(row for row in rows if row.rank is None),
            *(one for one in baselines if one.value is None)]  # fmt: skip


def _key(view: BoardView, column: Column | None, one: Shown, found: Found) -> Any:
    if column is not None:
        value = _value(column, one, found, view)
        return value.value if isinstance(value, Prediction) else value
    if view.sort == "score":
        return one.value
    if view.sort == "name":
        return (one.score.name if isinstance(one, Row) else one.name).casefold()
    if view.sort == "user":
        return (one.score.user if isinstance(one, Row) else one.origin).casefold()
    return _published(one)


def _published(one: Shown) -> str | None:
    made: datetime | str = one.score.created_at if isinstance(one, Row) else one.made_at
    return made.isoformat() if isinstance(made, datetime) else made or None


def _value(column: Column, one: Shown, found: Found, view: BoardView) -> Any:
    """The value of a cell; None where it is unknown or withheld."""
    if column.name == PREDICTED:
        if found.calibrated is None:  # since the site's own pairs replaced the published ones
            return Prediction(reason="its pairs give no line")
        return prediction_of(one, found.calibrated, view.metric_version)
    if isinstance(one, ShownBaseline):
        if column.from_tasks:
            return one.of_tasks(*column.from_tasks)
        return one.figure(column.field)
    if column.from_tasks is None:
        return None if column.field in one.withheld else getattr(one.score, column.field)
    if _is_withheld(column, one, board_suite(view.scale)):
        return None
    return found.from_tasks[column.name].get(one.score.submission_id)


def _is_withheld(column: Column, row: Row, suite: Suite) -> bool:
    """Whether a reviewer excluded the task, or one of the category."""
    assert column.from_tasks is not None
    excluded = set(row.marks.excluded) if row.marks else set()
    where, name = column.from_tasks
    if where == "tasks":
        return name in excluded
    return any(task.category == name and task.label in excluded for task in suite.tasks)


def _found_for(columns: Sequence[Column], view: BoardView, rows: Sequence[Row]) -> Found:
    numbers = [row.score.submission_id for row in rows]
    from_tasks = {
        column.name: values_from_tasks(column, view.metric_version, numbers)
        for column in columns
        if column.from_tasks
    }
    predicted = any(column.name == PREDICTED for column in columns)
    return Found(from_tasks, board_calibration(view.scale) if predicted else None)


def _under(row: Row, version: str, others: Mapping[tuple[int, str], float | None]) -> float | None:
    score = row.score
    return None if score.figure in row.withheld else others.get((score.submission_id, version))


def _dot(one: Shown) -> tuple[float | None, tuple[float, float] | None]:
    score = one.score if isinstance(one, Row) else one
    return score.value, score.interval or interval_of(score.value, score.stderr)
