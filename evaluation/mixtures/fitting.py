"""Fits one law to the losses of one target: starting points from linearised forms, then polish."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from evaluation.mixtures.laws import EDP, LAWS, M4, Floats, Law, PSLx
from evaluation.mixtures.least_squares import Solution, huber_cost, minimise, nonnegative

POLISHED = 2  # of the starting points, the best ones
LOWEST_SHARE = 1e-3  # c stays below the smallest loss by this share of it
C_ABOVE = 0.25  # c may lie above the smallest loss by this share of the span: losses are noisy
E_START = 0.01  # of PSLx


def fit_law(name: str, r: Floats, y: Floats, lam: float, start: Floats | None = None) -> Floats:
    """The parameters [p] of the law for mixtures r [n, M] with losses y [n] in nats.

    `start` (parameters of a fit to nearly the same runs) takes the place of the search for starts.
    Deterministic: no random number is drawn.
    """
    law = LAWS[name]
    box = law.box(r.shape[1], float(y.min() + C_ABOVE * np.ptp(y)))
    penalty = lam * law.ridge(r.shape[1])
    starts = [start] if start is not None else best_starts(law, r, y)
    solutions = [
        minimise(lambda theta: law.jacobian(theta, r), y, each, box, penalty) for each in starts
    ]
    best: Solution = min(solutions, key=lambda solution: solution.cost)
    return best.theta


def best_starts(law: Law, r: Floats, y: Floats, keep: int = POLISHED) -> list[Floats]:
    """The `keep` starting points of the grid that lie closest to the losses."""
    found = list(_starts(law, r, y))
    with np.errstate(all="ignore"):
        costs = [huber_cost(y - law.values(theta, r)) for theta in found]
    order = np.argsort(np.nan_to_num(costs, nan=np.inf, posinf=np.inf), kind="stable")
    return [found[number] for number in order[:keep]]


def _starts(law: Law, r: Floats, y: Floats) -> Iterator[Floats]:
    if isinstance(law, M4):
        return _m4_starts(r, y)
    return _edp_starts(r, y) if isinstance(law, EDP) else _pslx_starts(r, y)


def _constants(y: Floats, count: int) -> Floats:
    """Candidates for c, ever closer to the smallest loss."""
    lowest, span = float(y.min()), float(np.ptp(y))
    gaps = np.geomspace(max(lowest, 1e-6), max(span, 1e-3 * lowest) * 0.02, count)
    return np.maximum(lowest - gaps, 0.0)


def _m4_starts(r: Floats, y: Floats) -> Iterator[Floats]:
    """For a given c the logarithm of y - c is linear in t."""
    for c in _constants(y, 24):
        above = np.maximum(y - c, LOWEST_SHARE * y.min() * 1e-2)
        weighted = r * above[:, None]
        system = weighted.T @ weighted
        system += 1e-6 * np.trace(system) / len(system) * np.eye(len(system))
        t = np.linalg.solve(system, weighted.T @ (above * np.log(above)))
        yield np.r_[c, t]


def _edp_starts(r: Floats, y: Floats) -> Iterator[Floats]:
    """For given c and a the effective data (y - c)^(-1/a) is linear in w."""
    for c, a in itertools.product(_constants(y, 6), (0.3, 1.0, 3.0)):
        w = _linear(r, y, c, a)
        yield np.r_[c, _logs(w), math.log(a)]


def _pslx_starts(r: Floats, y: Floats) -> Iterator[Floats]:
    """For given c, a, g and e it is linear in C."""
    for g in (0.4, 0.9):
        powers = (r + E_START) ** g
        for c, a in itertools.product(_constants(y, 6), (0.3, 1.0)):
            w = _linear(powers, y, c, a)
            g_part = np.full(r.shape[1], math.log(g))
            yield np.r_[c, _logs(w), g_part, math.log(a), math.log(E_START)]


def _linear(terms: Floats, y: Floats, c: float, a: float) -> Floats:
    """Weights >= 0 [M] that make terms [n, M] times them (y - c)^(-1/a), errors counted in nats."""
    above = np.maximum(y - c, LOWEST_SHARE * y.min() * 1e-2)
    wanted = above ** (-1 / a)
    worth = a * above / wanted  # nats that one unit of effective data is worth
    triangle_of = np.column_stack([terms * worth[:, None], wanted * worth])
    reduced = np.linalg.qr(triangle_of, mode="r")
    return nonnegative(reduced[:, :-1], reduced[:, -1])


def _logs(weights: Floats) -> Floats:
    """Logarithms; a weight of zero becomes small beside the others."""
    floor = max(float(weights.max()) * 1e-3, 1e-9)
    found: Floats = np.log(np.maximum(weights, floor))
    return found
