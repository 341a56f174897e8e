"""Nested scaling laws: losses at more steps and larger sizes than were trained. Uncalibrated.

Ye et al. (arXiv 2403.16952, section 4): L(S) = c + A S^-alpha over steps, one alpha for all targets
of a run; L(N) = c + B N^-beta over sizes, one beta for all. Such extrapolation overstates gains and
misses losses by 2 to 5 %: `transfer` with a few runs at the large scale is better by far.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np

from evaluation.mixtures.laws import Floats
from evaluation.mixtures.least_squares import HUBER
from evaluation.mixtures.scales_of_runs import SIZE, STEP, run_of, step_of, trained_rows
from evaluation.mixtures.table import Row, Runs, Table, runs_of

EXPONENTS = np.geomspace(0.02, 3.0, 50)
REWEIGHTED = 6
FEWEST_STEPS, FEWEST_SIZES = 4, 3
EARLIEST_STEP = 1 / 3  # of the last: before, the loss still follows the warm-up
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9}
SIZE_NAME = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:[eE][+]?[0-9]+)?)([KMB]?)")


@dataclass(frozen=True)
class PowerLaw:
    """c + A x^-alpha for s series with one alpha: c and A [s]."""

    c: Floats
    factor: Floats
    alpha: float

    def at(self, x: float) -> Floats:
        """The series at x: [s]."""
        found: Floats = self.c + self.factor * x**-self.alpha
        return found


def fit_power_law(x: Floats, y: Floats) -> PowerLaw:
    """To y [k, s] at x [k] > 0, with c, A >= 0 and Huber's loss, over a grid of exponents."""
    unit = float(np.exp(np.log(x).mean()))
    scaled = x / unit
    best: tuple[float, Floats, Floats, float] | None = None
    for alpha in EXPONENTS:
        cost, c, factor = _linear_fit(scaled**-alpha, y)
        if best is None or cost < best[0]:
            best = (cost, c, factor, float(alpha))
    assert best is not None
    _, c, factor, alpha = best
    return PowerLaw(c, factor * unit**alpha, alpha)


def _linear_fit(z: Floats, y: Floats) -> tuple[float, Floats, Floats]:
    """c + A z for each series, by iteratively reweighted least squares: cost, c and A [s]."""
    weights = np.ones_like(y)
    for _ in range(REWEIGHTED):
        total = weights.sum(axis=0)
        z_mean, y_mean = (
            (weights * z[:, None]).sum(axis=0) / total,
            (weights * y).sum(axis=0) / total,
        )
        away = z[:, None] - z_mean
        factor = (weights * away * (y - y_mean)).sum(axis=0)
        factor = np.maximum(factor / (weights * away**2).sum(axis=0).clip(min=1e-300), 0.0)
        c = y_mean - factor * z_mean
        through = (weights * z[:, None] * y).sum(axis=0) / (weights * z[:, None] ** 2).sum(axis=0)
        factor, c = np.where(c < 0, through, factor), np.maximum(c, 0.0)
        size = np.abs(y - c - factor * z[:, None])
        weights = HUBER / np.maximum(size, HUBER)
    cost = np.where(size <= HUBER, size**2 / 2, HUBER * (size - HUBER / 2)).sum()
    return float(cost), c, factor


def extrapolated(
    table: Table,
    domains: dict[str, str],
    targets: dict[str, str],
    size: str | None,
    step: float | None,
) -> tuple[Runs, str]:
    """Runs at a size and step that were not trained, with the sentence that labels them.

    The table has columns `step` (for `step`), `size` (for `size`) and, better, `run`. Raises
    `runs_invalid` where runs have too few steps or mixtures too few sizes.
    """
    if step is not None and STEP not in table.columns:
        raise table.wrong("the table has no column step")
    table, notes = trained_rows(table, domains)
    rows = list(table.rows)
    by_size: dict[str, tuple[list[Row], Floats]] = {}
    for name in _sizes(table, rows, size):
        own = [row for row in rows if SIZE not in table.columns or row.cells[SIZE] == name]
        by_size[name] = _at_step(table, own, domains, targets, step)
    said = [] if step is None else [f"step {step:g}"]
    if size is None:
        (kept, losses), *_ = by_size.values()
    else:
        kept, losses = _at_size(table, by_size, domains, number_of_size(table, size))
        said.insert(0, f"size {size}")
    runs = runs_of(replace(table, rows=tuple(kept)), domains, targets)
    label = f"uncalibrated: extrapolated to {' and '.join(said)}, where nothing was trained"
    return replace(runs, losses=losses, notes=(*notes, *runs.notes, label)), label


def number_of_size(table: Table, name: str) -> float:
    """Parameters as a number: 70M, 1.4B, 1e9."""
    matched = SIZE_NAME.fullmatch(name.strip())
    value = float(matched[1]) * UNITS[matched[2]] if matched else math.nan
    if not 0 < value < 1e18:
        raise table.wrong(f'"{name[:40]}" is no size such as 70M, 1.4B or 85000000')
    return value


def _sizes(table: Table, rows: list[Row], size: str | None) -> list[str]:
    if SIZE not in table.columns:
        if size is not None:
            raise table.wrong("the table has no column size")
        return [""]
    names = sorted({row.cells[SIZE] for row in rows}, key=lambda n: number_of_size(table, n))
    if size is None:
        if len(names) > 1:
            raise table.wrong("the runs have several sizes: choose one with --at-size")
        return names
    below = [n for n in names if number_of_size(table, n) < number_of_size(table, size)]
    if len(below) < FEWEST_SIZES:
        raise table.wrong(f"{len(below)} sizes below {size}: {FEWEST_SIZES} are needed")
    return below


def _at_step(
    table: Table,
    rows: list[Row],
    domains: dict[str, str],
    targets: dict[str, str],
    step: float | None,
) -> tuple[list[Row], Floats]:
    """One row a run and its losses [n, T] at the step, measured where it was reached.

    Without a step, at the last that all runs have.
    """
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(run_of(table, row, domains), []).append(row)
    if step is None:
        return _last_rows(table, series, domains, targets)
    kept, losses = [], []
    for own in series.values():
        reached = [row for row in own if step_of(table, row) == step]
        if reached:
            kept.append(reached[0])
            losses.append(runs_of(replace(table, rows=(reached[0],)), domains, targets).losses[0])
            continue
        last = max(step_of(table, row) for row in own)
        used = [row for row in own if step_of(table, row) >= EARLIEST_STEP * min(last, step)]
        if len({step_of(table, row) for row in used}) < FEWEST_STEPS:
            said = f"a run needs {FEWEST_STEPS} steps in its last two thirds to be extrapolated"
            raise table.wrong(said, own[0])
        y = runs_of(replace(table, rows=tuple(used)), domains, targets).losses
        law = fit_power_law(np.array([step_of(table, row) for row in used]), y)
        kept.append(own[0])
        losses.append(law.at(step))
    return kept, np.array(losses)


def _last_rows(
    table: Table, series: dict[str, list[Row]], domains: dict[str, str], targets: dict[str, str]
) -> tuple[list[Row], Floats]:
    if STEP in table.columns:
        common = set.intersection(*({step_of(table, r) for r in own} for own in series.values()))
        if not common:
            raise table.wrong("the runs have no step in common: choose one with --at-step")
        kept = [r for own in series.values() for r in own if step_of(table, r) == max(common)]
    else:
        kept = [row for own in series.values() for row in own]
    return kept, runs_of(replace(table, rows=tuple(kept)), domains, targets).losses


def _at_size(
    table: Table, by_size: dict[str, tuple[list[Row], Floats]], domains: dict[str, str], size: float
) -> tuple[list[Row], Floats]:
    """The mixtures that all sizes have, one row each, and their losses [n, T] at the size."""

    def mixture(row: Row) -> tuple[str, ...]:
        return tuple(row.cells[column] for column in domains.values())

    places = [{mixture(row): k for k, row in enumerate(rows)} for rows, _ in by_size.values()]
    common = [m for m in places[0] if all(m in place for place in places)]
    if not common:
        raise table.wrong("no mixture was trained at every size")
    sizes = np.array([number_of_size(table, name) for name in by_size])
    losses = [
        found[[place[m] for m in common]]
        for place, (_, found) in zip(places, by_size.values(), strict=True)
    ]
    stacked = np.array(losses)
    law = fit_power_law(sizes, stacked.reshape(len(sizes), -1))
    rows = next(iter(by_size.values()))[0]
    return [rows[places[0][m]] for m in common], law.at(size).reshape(stacked.shape[1:])
