"""Chooses the rows of one scale from a table whose columns `size` and `step` hold several.

Runs of other sizes or lengths have other losses for the same mixture; a law of both would be wrong.
"""

from __future__ import annotations

from dataclasses import replace

from evaluation.mixtures.table import Row, Table

SIZE, STEP, RUN = "size", "step", "run"


def trained_rows(table: Table, domains: dict[str, str]) -> tuple[Table, list[str]]:
    """The rows that have proportions; one without any is a base model, and a sentence says so."""
    rows = [row for row in table.rows if any(row.cells[c] for c in domains.values())]
    if not rows:
        raise table.wrong("no row has proportions")
    notes = []
    if len(rows) < len(table.rows):
        kept = {row.line for row in rows}
        lines = ", ".join(str(row.line) for row in table.rows if row.line not in kept)
        notes.append(f"left out because they have no proportions (a base model): lines {lines}")
    return replace(table, rows=tuple(rows)), notes


def chosen(
    table: Table, domains: dict[str, str], size: str | None, step: float | None
) -> tuple[Table, list[str]]:
    """The rows of one size and one step, with sentences on what was left out.

    Without `size` the table must hold one only. Without `step` it is the last that all runs have.
    Raises `runs_invalid`.
    """
    table, notes = trained_rows(table, domains)
    rows = list(table.rows)
    if size is not None:
        _needs(table, SIZE)
        rows = [row for row in rows if row.cells[SIZE] == size]
        if not rows:
            known = ", ".join(sorted({row.cells[SIZE] for row in table.rows})[:10])
            raise table.wrong(f'no row has the size "{size}"; there are {known}')
    elif SIZE in table.columns and len(sizes := {row.cells[SIZE] for row in rows}) > 1:
        known = ", ".join(sorted(sizes)[:10])
        raise table.wrong(f"the runs have several sizes ({known}): choose one with --size")
    if step is not None:
        _needs(table, STEP)
        rows = [row for row in rows if step_of(table, row) == step]
        if not rows:
            raise table.wrong(f"no row is of step {step:g}")
    elif STEP in table.columns and len({step_of(table, row) for row in rows}) > 1:
        step = _last_common_step(table, rows, domains)
        rows = [row for row in rows if step_of(table, row) == step]
        notes.append(f"the rows of step {step:g} were taken, the last that every run has")
    return replace(table, rows=tuple(rows)), notes


def step_of(table: Table, row: Row) -> float:
    """A row's step as a number."""
    try:
        return float(row.cells[STEP])
    except ValueError:
        raise table.wrong("the step is no number", row) from None


def run_of(table: Table, row: Row, domains: dict[str, str]) -> str:
    """What makes rows of several steps one run: its name, or its mixture where there is none."""
    if RUN in table.columns:
        return row.cells[RUN]
    return " ".join(row.cells[column] for column in domains.values())


def _last_common_step(table: Table, rows: list[Row], domains: dict[str, str]) -> float:
    steps: dict[str, set[float]] = {}
    for row in rows:
        steps.setdefault(run_of(table, row, domains), set()).add(step_of(table, row))
    common = set.intersection(*steps.values())
    if not common:
        raise table.wrong("the runs have no step in common: choose one with --step")
    return max(common)


def _needs(table: Table, column: str) -> None:
    if column not in table.columns:
        raise table.wrong(f"the table has no column {column}")
