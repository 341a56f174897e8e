"""Which mixtures to train: the first runs for some sources, and the next ones for a fit.

Candidates are mixtures on a grid of halvings below each source's cap, as Ye et al. take them (arXiv
2403.16952, appendix); of these, runs are taken one by one so that the determinant of the
information matrix grows most (D-optimality; Fedorov, "Theory of Optimal Experiments", 1972).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.mixtures.fit import MixtureFit
from evaluation.mixtures.laws import LAWS, Floats
from evaluation.mixtures.limits import Limits
from evaluation.mixtures.predict import predict_target

CANDIDATES = 3_000
HALVINGS = 6
LEFT_OUT = 0.3  # of the sources of a candidate: a law cannot bend towards 0 without runs at 0
PRIOR = 1e-4
DIGITS = 1e6  # proportions are whole millionths, as mixture.json sums are checked


@dataclass(frozen=True)
class Proposal:
    """A mixture [M] to train; `width` is the mean width of today's 90 % intervals, in nats."""

    mixture: Floats
    width: float | None


def first_design(natural: Floats, limits: Limits, runs: int, seed: int) -> list[Proposal]:
    """The first runs: the natural mixture (as far as the limits allow), then a D-optimal choice.

    The information is that of proportions and their square roots, since losses bend towards 0.
    """
    candidates = np.vstack([_within(natural, limits), candidates_of(limits, seed)])
    features = np.hstack([candidates, np.sqrt(candidates)])
    information = PRIOR * np.eye(features.shape[1]) + np.outer(features[0], features[0])
    chosen = _greedy([features], [information], runs - 1, taken=[0])
    return [Proposal(candidates[k], None) for k in [0, *chosen][:runs]]


def next_runs(fit: MixtureFit, limits: Limits, runs: int) -> list[Proposal]:
    """The further runs that give the fitted laws most information."""
    candidates = candidates_of(limits, fit.seed)
    features, information = [], []
    for target in fit.targets:
        law = LAWS[target.candidate.law]
        noise = max(float(np.abs(target.residuals).mean()), 1e-6)
        seen = law.jacobian(target.theta[None], fit.mixtures)[1][0] / noise
        features.append(law.jacobian(target.theta[None], candidates)[1][0] / noise)
        ridge = target.candidate.lam * law.ridge(len(fit.domains)) / noise**2
        size = float(np.trace(seen.T @ seen)) / seen.shape[1]
        information.append(seen.T @ seen + ridge + PRIOR * size * np.eye(seen.shape[1]))
    chosen = _greedy(features, information, runs, taken=[])
    widths = np.zeros(len(chosen))
    for target in fit.targets:
        _, low, high, _ = predict_target(fit, target, candidates[chosen])
        widths += (high - low) / len(fit.targets)
    return [
        Proposal(candidates[k], None if np.isnan(width) else float(width))
        for k, width in zip(chosen, widths, strict=True)
    ]


def candidates_of(limits: Limits, seed: int) -> Floats:
    """Different mixtures [n, M] between the limits, in whole millionths.

    Each source has its cap, halved up to six times, or its floor; what is left over goes to sources
    with room, the first in a random order.
    """
    generator = np.random.default_rng(seed)
    size = len(limits.caps)
    shape = (CANDIDATES, size)
    drawn = limits.caps * 2.0 ** -generator.integers(0, HALVINGS + 1, size=shape)
    drawn = np.where(generator.random(shape) < LEFT_OUT, 0.0, drawn)
    order = np.argsort(generator.random(shape), axis=1)
    found = np.array(
        [_fill(mixture, places, limits) for mixture, places in zip(drawn, order, strict=True)]
    )
    _, first = np.unique(found, axis=0, return_index=True)
    kept: Floats = found[np.sort(first)]
    return kept


def _fill(wanted: Floats, order: NDArray[np.int64], limits: Limits) -> Floats:
    """Proportions near `wanted` that sum to one, source after source in the order."""
    floors = np.ceil(limits.floors * DIGITS - 1e-6)
    caps = np.floor(limits.caps * DIGITS + 1e-6)
    units = floors.copy()
    left = DIGITS - units.sum()
    for goal in (np.floor(wanted * DIGITS), caps):  # first what is wanted, then all there is
        for k in order:
            more = min(max(goal[k] - units[k], 0.0), caps[k] - units[k], left)
            units[k] += more
            left -= more
    found: Floats = units / DIGITS
    return found


def _within(natural: Floats, limits: Limits) -> Floats:
    """The natural mixture, moved into the limits."""
    return _fill(natural, np.argsort(-natural), limits)


def _greedy(
    features: list[Floats], information: list[Floats], runs: int, taken: list[int]
) -> list[int]:
    """Rows of the features [n, p], each the one that adds most to the log determinants."""
    inverses = [np.linalg.inv(matrix) for matrix in information]
    gone = np.zeros(len(features[0]), dtype=bool)
    gone[taken] = True
    chosen: list[int] = []
    for _ in range(min(runs, int((~gone).sum()))):
        score = np.zeros(len(gone))
        for rows, inverse in zip(features, inverses, strict=True):
            score += np.log1p(((rows @ inverse) * rows).sum(axis=1).clip(min=0))
        score[gone] = -np.inf
        best = int(np.argmax(score))
        chosen.append(best)
        gone[best] = True
        for k, rows in enumerate(features):
            reached = inverses[k] @ rows[best]
            inverses[k] = inverses[k] - np.outer(reached, reached) / (1 + rows[best] @ reached)
    return chosen
