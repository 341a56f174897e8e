"""Continual pretraining: the share of the old corpus that keeps the old loss at the base model's.

Ye et al. (arXiv 2403.16952, section 5): a law in the one share is fitted to a few short runs; the
critical share is where it equals the loss of the base checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.mixtures.fitting import fit_law
from evaluation.mixtures.identify import distinct
from evaluation.mixtures.laws import LAWS, Floats
from submissions.failures import Failure

FEWEST = 4
LAMBDA = 1e-8  # two domains are identified: the ridge only keeps the solve regular
GRID = 201


@dataclass(frozen=True)
class Critical:
    """The share and its leave-one-out range; None where the law does not cross the base's loss.

    `crossings` are all shares in 0 to 1 at which it does; `share` is set where there is one.
    `fitted` and `left_out` are each run's loss by the law of all runs and of all others: [n].
    """

    share: float | None
    crossings: tuple[float, ...]
    low: float | None
    high: float | None
    without_crossing: int  # of the leave-one-out laws
    inside: bool  # the share lies between those of the runs
    fitted: Floats
    left_out: Floats
    curve: Floats  # losses at shares 0, 0.005 … 1


def critical_share(shares: Floats, losses: Floats, base: float, law: str = "m4") -> Critical:
    """From runs [n] with their share of the old corpus and its loss. Raises `too_few_runs`."""
    r = np.column_stack([shares, 1 - shares])
    if distinct(r) < FEWEST:
        said = f"{distinct(r)} different shares: a critical share needs {FEWEST} runs"
        raise Failure("too_few_runs", said)
    count = len(shares)
    weights = np.vstack([np.ones(count), 1 - np.eye(count)])
    thetas = fit_law(law, r, losses, weights, LAMBDA)
    found = [_crossings(law, theta, base) for theta in thetas]
    single = [each[0] for each in found[1:] if len(each) == 1]
    share = found[0][0] if len(found[0]) == 1 else None
    values = LAWS[law].values(thetas, r)
    grid = np.linspace(0, 1, GRID)
    return Critical(
        share,
        tuple(found[0]),
        min([*single, share]) if single and share is not None else None,
        max([*single, share]) if single and share is not None else None,
        count - len(single),
        share is not None and bool(shares.min() <= share <= shares.max()),
        values[0],
        values[np.arange(1, count + 1), np.arange(count)],
        LAWS[law].values(thetas[:1], np.column_stack([grid, 1 - grid]))[0],
    )


def _crossings(law: str, theta: Floats, base: float) -> list[float]:
    """All shares at which the law equals `base`, by bisection between points of a grid."""

    def above(share: float) -> float:
        return float(LAWS[law].values(theta[None], np.array([[share, 1 - share]]))[0, 0]) - base

    grid = np.linspace(0, 1, GRID)
    over = np.array([above(float(share)) for share in grid]) > 0
    found = []
    for k in np.flatnonzero(over[1:] != over[:-1]):
        low, high = float(grid[k]), float(grid[k + 1])
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if (above(middle) > 0) == over[k] else (low, middle)
        found.append(high)
    return found
