"""The limits of a set of runs: their number, the directions in which they vary, and how far.

The limits are measured on RegMix's 17 domains: below 2 M runs a fit is exploratory, at M + 2 and
below it is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.mixtures.laws import Floats
from evaluation.mixtures.least_squares import nonnegative
from submissions.failures import Failure

PREDICTION, EXPLORATORY = "prediction", "exploratory"
# Rounding to three digits moves a proportion by 0.0003; a direction that varied less did not vary.
SMALLEST_SPREAD = 5e-4
ESCAPE = 2e-3  # how far a mixture may lie off what the runs span, as rounded ones do
BEYOND_SEEN = 1.25  # times the largest proportion seen
HULL_DISTANCE = 1e-4


@dataclass(frozen=True)
class Span:
    """Centre of the runs [M] and the directions in which they did not vary [k, M]."""

    centre: Floats
    fixed: Floats
    sentences: tuple[str, ...]  # one for each thing that is not identified


def distinct(mixtures: Floats) -> int:
    """The number of different mixtures; repeated runs of one teach nothing about others."""
    return len(np.unique(np.round(mixtures, 9), axis=0))


def standing(mixtures: Floats) -> str:
    """`prediction` or `exploratory`; raises `too_few_runs` at M + 2 mixtures and below."""
    runs, domains = distinct(mixtures), mixtures.shape[1]
    if runs <= domains + 2:
        said = (
            f"{runs} different mixtures of {domains} domains: with {domains + 2} or fewer no law "
            f"is fitted, and {2 * domains} make a prediction"
        )
        raise Failure("too_few_runs", said)
    return PREDICTION if runs >= 2 * domains else EXPLORATORY


def span_of(domains: Sequence[str], mixtures: Floats) -> Span:
    """In which directions the runs varied; proportions of no run may move along the others."""
    size = len(domains)
    centre = mixtures.mean(axis=0)
    away = (mixtures - centre) / np.sqrt(len(mixtures))
    away = away - away.mean(axis=1, keepdims=True)  # rounding: all sums are one
    _, spreads, directions = np.linalg.svd(away, full_matrices=True)
    spreads = np.r_[spreads, np.zeros(size - len(spreads))]
    fixed = directions[spreads < SMALLEST_SPREAD]
    # The direction "all more" is impossible, not unidentified.
    fixed = fixed - fixed.mean(axis=1, keepdims=True)
    _, kept, right = np.linalg.svd(fixed, full_matrices=False)
    fixed = right[kept > 0.5]
    return Span(centre, fixed, tuple(_sentences(domains, mixtures, fixed)))


def _sentences(domains: Sequence[str], mixtures: Floats, fixed: Floats) -> list[str]:
    """Names never varied domains, pairs that move together, and any further combination."""
    if not len(fixed):
        return []
    spread = mixtures.std(axis=0)
    still = spread < SMALLEST_SPREAD
    found = [
        f"{name} was never varied"
        for name, is_still in zip(domains, still, strict=True)
        if is_still
    ]
    away = mixtures - mixtures.mean(axis=0)
    together = 0
    for one, other in itertools.combinations(np.flatnonzero(~still), 2):
        scale = float(away[:, one] @ away[:, other]) / float(away[:, one] @ away[:, one])
        apart = (away[:, other] - scale * away[:, one]).std()
        if scale > 0 and apart < SMALLEST_SPREAD:
            found.append(f"{domains[one]} and {domains[other]} always moved together")
            together += 1
    if int(still.sum()) + together < len(fixed):
        direction = fixed[np.argmax(np.abs(fixed[:, ~still]).sum(axis=1))]
        named = [
            f"{domains[k]}" for k in np.argsort(-np.abs(direction))[:6] if abs(direction[k]) > 0.05
        ]
        found.append(f"a combination of {', '.join(named)} was never varied")
    return found


def never_varied(mixtures: Floats) -> list[int]:
    """The domains that have one proportion in all runs [n, M]."""
    return [int(k) for k in np.flatnonzero(mixtures.std(axis=0) < SMALLEST_SPREAD)]


def escapes(span: Span, mixtures: Floats) -> NDArray[np.bool_]:
    """Which mixtures [n] lie along a direction that no run varied: their loss is unknown."""
    if not len(span.fixed):
        return np.zeros(len(mixtures), dtype=bool)
    off = np.linalg.norm((mixtures - span.centre) @ span.fixed.T, axis=1)
    found: NDArray[np.bool_] = off > ESCAPE
    return found


def beyond_seen(runs: Floats, mixture: Floats) -> list[int]:
    """The domains of which a mixture [M] has more than 1.25 times the largest proportion seen."""
    return [int(k) for k in np.flatnonzero(mixture > BEYOND_SEEN * runs.max(axis=0) + 1e-9)]


def in_hull(runs: Floats, mixture: Floats) -> bool:
    """Whether a mixture [M] is an average of runs [n, M]: the closest such average is itself."""
    apart = np.maximum(mixture - runs.max(axis=0), runs.min(axis=0) - mixture)
    if apart.max() > HULL_DISTANCE:
        return False
    weight = 10.0  # holds the sum of the shares at one
    system = np.vstack([runs.T, np.full(len(runs), weight)])
    wanted = np.r_[mixture, weight]
    shares = nonnegative(system, wanted)
    return bool(np.linalg.norm(system @ shares - wanted) < HULL_DISTANCE)
