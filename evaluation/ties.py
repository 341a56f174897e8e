"""Rank intervals on a board, from questions and runs, with Holm's correction.

Every pair of entries is tested for a difference. With m entries there are m(m − 1)/2 tests, so
their p-values are corrected by Holm's step-down procedure (Scandinavian Journal of Statistics 6,
1979): it bounds the chance of a single wrong "better than" on the whole board by 5 per cent, needs
no assumption about how the tests depend on each other (they share questions and entries), and finds
at least as much as Bonferroni's. An entry's places then run from one below the number that are
surely better to those that are not surely worse; over all entries at once they hold the true ranks
with 95 per cent confidence (Mogstad, Romano, Shaikh and Wilhelm, Review of Economic Studies 91,
2024). Entries that share the first place are the leading tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.run_spread import RunSpread, p_with_runs
from evaluation.statistics import p_of

ERROR_RATE = 0.05  # of a board, not of a pair


@dataclass(frozen=True)
class Places:
    """The places that an entry may hold, from 1."""

    best: int
    worst: int


def places_of(
    values: Sequence[float], covariance: NDArray[np.float64], spread: RunSpread | None = None
) -> list[Places]:
    """The places of entries with these scores, whose errors have this covariance [m, m].

    That is the error from the questions. With a `spread` each entry is one run of its dataset, and
    places are of the datasets: what another seed would change is left open too.
    """
    count = len(values)
    one, other = np.triu_indices(count, 1)  # every pair once
    scores, own = np.asarray(values, dtype=np.float64), np.diag(covariance)
    apart = scores[one] - scores[other]
    variance = own[one] + own[other] - 2 * covariance[one, other]
    errors = np.sqrt(np.maximum(variance, 0.0))
    tests = [
        p_of(*pair) if spread is None else p_with_runs(*pair, spread)
        for pair in zip(apart.tolist(), errors.tolist(), strict=True)
    ]
    differs = np.array(holm(tests, ERROR_RATE), dtype=np.bool_)
    ahead = apart > 0
    beaten = np.bincount(np.where(ahead, other, one)[differs], minlength=count)
    beats = np.bincount(np.where(ahead, one, other)[differs], minlength=count)
    return [
        Places(1 + up, count - down)
        for up, down in zip(beaten.tolist(), beats.tolist(), strict=True)
    ]


def holm(p_values: Sequence[float], error_rate: float) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    rejected = [False] * len(p_values)
    for step, place in enumerate(order):
        if p_values[place] > error_rate / (len(p_values) - step):
            break
        rejected[place] = True
    return rejected
