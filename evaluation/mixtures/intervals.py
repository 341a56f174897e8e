"""CV+ intervals: 90 % of new runs lie in them, as held-out runs did.

Barber, Candès, Ramdas and Tibshirani, "Predictive inference with the jackknife+" (Annals of
Statistics 49, 2021). Each run's out-of-fold error is put around what the law of its fold predicts
for the new mixture; the interval is a quantile of these. Residuals of the fit itself, or a
bootstrap of the law, would promise far too much: docs/mixture-lab.md has the coverage of each.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evaluation.mixtures.laws import Floats

LEVEL = 0.9
CHUNK = 2_000_000  # numbers held at once


def ranks_of(runs: int, level: float = LEVEL) -> tuple[int, int] | None:
    """Which smallest of the sorted values, from 0, are the ends; None: too few runs for any."""
    high = math.ceil(level * (runs + 1)) - 1
    return None if high >= runs else (runs - 1 - high, high)


def cv_plus(by_fold: Floats, folds: NDArray[np.int64], errors: Floats) -> tuple[Floats, Floats]:
    """Lower and upper ends [m], in nats; NaN where there are fewer than nine runs.

    by_fold [K, m]: what each fold's law predicts for m mixtures; folds [n]: the fold of each run;
    errors [n]: its absolute out-of-fold residual.
    """
    ends = ranks_of(len(errors))
    low, high = np.full((2, by_fold.shape[1]), math.nan)
    if ends is None:
        return low, high
    step = max(1, CHUNK // len(errors))
    for first in range(0, by_fold.shape[1], step):
        part = slice(first, first + step)
        around = by_fold[:, part][folds]
        low[part] = np.partition(around - errors[:, None], ends[0], axis=0)[ends[0]]
        high[part] = np.partition(around + errors[:, None], ends[1], axis=0)[ends[1]]
    return low, high
