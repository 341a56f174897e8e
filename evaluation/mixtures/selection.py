"""Cross-validation: predictions of every run by laws that have not seen it, and which law to use.

The same out-of-fold residuals are the quality that is shown and the source of the intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.mixtures.fitting import fit_law
from evaluation.mixtures.laws import LAWS, Floats
from evaluation.mixtures.quality import linear_prediction

Ints = NDArray[np.int64]

FOLDS = 10
LEAVE_ONE_OUT = 30  # below so many mixtures each is a fold of its own
BELOW, ABOVE = 0.25, 0.5  # a prediction leaves the losses seen by these shares of their span


@dataclass(frozen=True)
class Candidate:
    """A law with its ridge."""

    law: str
    lam: float


# Those of one law stand together, from stiff to loose: each fit starts
# where the one before ended. A ridge of 0.01 spoils M4 and EDP, whose parameters are few.
CANDIDATES = {
    "pslx": (Candidate("pslx", 1e-3),),
    "edp": (Candidate("edp", 1e-4),),
    "m4": (Candidate("m4", 1e-4),),
    "auto": (
        Candidate("pslx", 1e-2), Candidate("pslx", 1e-3), Candidate("pslx", 1e-4),
        Candidate("edp", 1e-3), Candidate("edp", 1e-4), Candidate("m4", 1e-4),
    ),
}  # fmt: skip
DEFAULT = Candidate("pslx", 1e-3)


@dataclass(frozen=True)
class Fitted:
    """A candidate: parameters of all runs [p] and of each fold [K, p], out-of-fold losses [n]."""

    candidate: Candidate
    theta: Floats
    fold_thetas: Floats
    out_of_fold: Floats


@dataclass(frozen=True)
class Chosen:
    """The candidate that is used, and the out-of-fold MAE of each that was tried."""

    best: Fitted
    tried: tuple[tuple[Candidate, float], ...]


def folds_of(mixtures: Floats, seed: int) -> Ints:
    """The fold of each run [n]; runs of one mixture share theirs, so none predicts another."""
    _, which = np.unique(np.round(mixtures, 9), axis=0, return_inverse=True)
    which = which.reshape(-1)
    count = int(which.max()) + 1
    if count < LEAVE_ONE_OUT:
        return which.astype(np.int64)
    order = np.random.default_rng(seed).permutation(count)
    fold = np.empty(count, dtype=np.int64)
    fold[order] = np.arange(count) % FOLDS
    return fold[which]


def choose(law: str, r: Floats, y: Floats, folds: Ints) -> Chosen:
    """Fits the candidates of `law` (a name, or auto) to one target and takes one of them.

    That is the one with the smallest out-of-fold MAE, or the default where it is worse by no more
    than the standard error of the difference: on RegMix a looser ridge won by 0.0001 nats, and its
    best mixture for Pile-CC was 73 % Enron mail.

    r [n, M], y [n] in nats, folds [n] from 0.
    """
    candidates = CANDIDATES[law]
    count = int(folds.max()) + 1
    used = np.vstack([np.ones(len(y)), folds != np.arange(count)[:, None]])
    fitted: list[Fitted] = []
    start = None
    for number, candidate in enumerate(candidates):
        if number and candidates[number - 1].law != candidate.law:
            start = None
        start = fit_law(candidate.law, r, y, used, candidate.lam, start)
        fitted.append(_held_out(candidate, start, r, y, folds))
    errors = np.array([np.abs(each.out_of_fold - y) for each in fitted])
    means = errors.mean(axis=1)
    best = int(np.argmin(means))
    if DEFAULT in candidates:
        usual = candidates.index(DEFAULT)
        worse = errors[usual] - errors[best]
        if worse.mean() <= worse.std() / np.sqrt(len(y)):
            best = usual
    return Chosen(fitted[best], tuple(zip(candidates, means.tolist(), strict=True)))


def _held_out(candidate: Candidate, thetas: Floats, r: Floats, y: Floats, folds: Ints) -> Fitted:
    """Each run by the law of its fold; thetas [1 + K, p] begin with that of all runs."""
    values = LAWS[candidate.law].values(thetas[1:], r)[folds, np.arange(len(y))]
    for fold in range(len(thetas) - 1):
        held = folds == fold
        values[held] = clip(values[held], y[~held])
    return Fitted(candidate, thetas[0], thetas[1:], values)


def baselines(r: Floats, y: Floats, folds: Ints) -> dict[str, Floats]:
    """Out-of-fold predictions [n] of the mean and of a linear model."""
    found = {"mean": np.empty(len(y)), "linear": np.empty(len(y))}
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        found["mean"][held] = y[~held].mean()
        found["linear"][held] = linear_prediction(r[~held], y[~held], r[held])
    return found


def clip(predicted: Floats, seen: Floats) -> Floats:
    """Predictions kept near the losses `seen`: a law far from its runs can say anything."""
    low, high = clip_range(seen)
    found: Floats = np.clip(predicted, low, high)
    return found


def clip_range(seen: Floats) -> tuple[float, float]:
    """The lowest and highest loss that is predicted."""
    span = float(np.ptp(seen))
    return float(seen.min()) - BELOW * span, float(seen.max()) + ABOVE * span
