"""Fits one law to the losses of one target: starting points from linearised forms, then polish."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from evaluation.mixtures.laws import EDP, LAWS, M4, Floats, Law
from evaluation.mixtures.least_squares import ITERATIONS, Problems, minimise

POLISHED = 2  # of the starting points, the best ones
FIRST_STEPS = 15  # after which only the better one continues
NUMBERS = 6_000_000  # of derivatives held at once
C_ABOVE = 0.25  # c may lie above the smallest loss by this share of the span: losses are noisy
E_START = 0.01  # of PSLx
MULTIPLIED = 40  # rounds of the non-negative solve


def fit_law(
    name: str,
    r: Floats,
    y: Floats,
    weights: Floats,
    lam: float,
    start: Floats | None = None,
    steps: int = ITERATIONS,
) -> Floats:
    """The parameters [B, p] of B fits of a law to mixtures r [n, M] with losses y [n] in nats.

    weights [B, n] says how often each run counts in each fit: 0 and 1 for folds, counts for a
    bootstrap. `start` [B, p] takes the place of the search for starting points. Deterministic: no
    random number is drawn.
    """
    law = LAWS[name]
    chunk = max(1, NUMBERS // (len(r) * law.count(r.shape[1])))
    if len(weights) > chunk:
        return np.vstack(
            [
                fit_law(
                    name,
                    r,
                    y,
                    weights[first : first + chunk],
                    lam,
                    None if start is None else start[first : first + chunk],
                    steps,
                )
                for first in range(0, len(weights), chunk)
            ]
        )
    problems = _problems(law, r, y, weights, lam)
    if start is not None:
        return minimise(problems, start, steps)[0]
    starts = best_starts(problems)
    tried = [minimise(problems, each, FIRST_STEPS) for each in starts]
    costs = np.array([cost for _, cost in tried])
    thetas = np.array([theta for theta, _ in tried])
    return minimise(problems, thetas[np.argmin(costs, axis=0), np.arange(len(weights))])[0]


def best_starts(problems: Problems, keep: int = POLISHED) -> Floats:
    """The `keep` points of the grid that lie closest to the losses of each fit: [keep, B, p]."""
    grid = np.array(list(_starts(problems)))
    with np.errstate(all="ignore"):
        costs = [problems.cost(theta, problems.law.values(theta, problems.r)) for theta in grid]
    order = np.argsort(np.nan_to_num(costs, nan=np.inf, posinf=np.inf), axis=0, kind="stable")
    found: Floats = grid[order[:keep], np.arange(len(problems.y))]
    return found


def _problems(law: Law, r: Floats, y: Floats, weights: Floats, lam: float) -> Problems:
    box = law.box(r.shape[1])
    lower = np.tile(box.lower, (len(weights), 1))
    upper = np.tile(box.upper, (len(weights), 1))
    lowest = np.where(weights > 0, y, np.inf).min(axis=1)
    highest = np.where(weights > 0, y, -np.inf).max(axis=1)
    upper[:, 0] = lowest + C_ABOVE * (highest - lowest)
    every = np.tile(y, (len(weights), 1))
    return Problems(law, r, every, weights, lam * law.ridge(r.shape[1]), lower, upper)


def _starts(problems: Problems) -> Iterator[Floats]:
    if isinstance(problems.law, M4):
        return _m4_starts(problems)
    return _edp_starts(problems) if isinstance(problems.law, EDP) else _pslx_starts(problems)


def _constants(problems: Problems, count: int) -> Iterator[Floats]:
    """Candidates for c, ever closer to the smallest loss: [B] each."""
    used = problems.weights > 0
    lowest = np.where(used, problems.y, np.inf).min(axis=1)
    span = np.where(used, problems.y, -np.inf).max(axis=1) - lowest
    yield from np.maximum(lowest - np.geomspace(lowest, np.maximum(span, 1e-6) * 0.02, count), 0.0)


def _above(problems: Problems, c: Floats) -> Floats:
    """The losses less c, and not below zero: [B, n]."""
    above: Floats = np.maximum(problems.y - c[:, None], 1e-5 * problems.y)
    return above


def _m4_starts(problems: Problems) -> Iterator[Floats]:
    """For a given c the logarithm of y - c is linear in t."""
    r = problems.r
    for c in _constants(problems, 24):
        above = _above(problems, c)
        worth = problems.weights * above**2
        system = (worth[:, :, None] * r).transpose(0, 2, 1) @ r
        system += 1e-6 * system.trace(axis1=1, axis2=2)[:, None, None] * np.eye(r.shape[1])
        wanted = (worth * np.log(above)) @ r
        yield np.column_stack([c, np.linalg.solve(system, wanted[:, :, None])[:, :, 0]])


def _edp_starts(problems: Problems) -> Iterator[Floats]:
    """For given c and a the effective data (y - c)^(-1/a) is linear in w."""
    for c, a in itertools.product(_constants(problems, 6), (0.3, 1.0, 3.0)):
        log_w = _linear(problems, problems.r, c, a)
        yield np.column_stack([c, log_w, np.full(len(c), math.log(a))])


def _pslx_starts(problems: Problems) -> Iterator[Floats]:
    """For given c, a, g and e it is linear in C."""
    for g in (0.4, 0.9):
        terms = (problems.r + E_START) ** g
        for c, a in itertools.product(_constants(problems, 6), (0.3, 1.0)):
            log_c = _linear(problems, terms, c, a)
            rest = np.r_[np.full(log_c.shape[1], math.log(g)), math.log(a), math.log(E_START)]
            yield np.column_stack([c, log_c, np.tile(rest, (len(c), 1))])


def _linear(problems: Problems, terms: Floats, c: Floats, a: float) -> Floats:
    """Logarithms [B, M] of the weights >= 0 of terms [n, M] whose sum is closest to (y - c)^(-1/a).

    Errors count in nats. Terms and sums are positive, so that multiplicative updates (Lee and
    Seung, NIPS 2000) solve it, for all fits at once.
    """
    above = _above(problems, c)
    wanted = above ** (-1 / a)
    worth = problems.weights * (a * above / wanted) ** 2  # squared nats a unit of effective data
    system = (worth[:, :, None] * terms).transpose(0, 2, 1) @ terms
    pull = (worth * wanted) @ terms
    x = np.tile((pull.sum(axis=1) / system.sum(axis=(1, 2)))[:, None], (1, terms.shape[1]))
    for _ in range(MULTIPLIED):
        x *= pull / ((system @ x[:, :, None])[:, :, 0] + 1e-300)
    floor = np.maximum(x.max(axis=1, keepdims=True) * 1e-3, 1e-9)
    found: Floats = np.log(np.maximum(x, floor))
    return found
