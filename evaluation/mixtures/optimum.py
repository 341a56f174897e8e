"""The best mixture under limits. The laws are convex, so a certificate says how close it is.

An interior-point method (Boyd and Vandenberghe, "Convex Optimization", 2004, chapter 11): Newton's
steps on the objective with logarithmic walls at floors and caps, the walls lowered bit by bit. The
certificate is Frank and Wolfe's gap: a convex function lies above its tangent, so the lowest value
of the tangent over all allowed mixtures, which a greedy filling finds, is below every mixture's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.mixtures.laws import LAWS, Floats
from evaluation.mixtures.limits import Limits

# A point to its value, gradient [M] and Hessian [M, M].
Objective = Callable[[Floats], tuple[float, Floats, Floats]]

GAP = 1e-7  # nats at which the search ends
NEGLIGIBLE = 1e-7  # proportions that are only the wall's distance from the floor
BINDING = 1e-6
STEPS = 50  # at one height of the walls


@dataclass(frozen=True)
class Optimum:
    """A mixture [M] and its value; no allowed mixture has one lower by more than `gap`."""

    mixture: Floats
    value: float
    gap: float


def law_objective(
    laws: Sequence[tuple[str, Floats, float]], kl: float = 0.0, natural: Floats | None = None
) -> Objective:
    """The weighted sum of laws (name, parameters, weight >= 0), plus kl × KL(r || natural)."""
    parts = []
    for name, law in LAWS.items():  # those of one form together
        own = [(theta, weight) for form, theta, weight in laws if form == name and weight > 0]
        if own:
            thetas = np.array([theta for theta, _ in own])
            parts.append((law, thetas, np.array([weight for _, weight in own])))

    def objective(point: Floats) -> tuple[float, Floats, Floats]:
        size = len(point)
        value, gradient, hessian = 0.0, np.zeros(size), np.zeros((size, size))
        for law, thetas, weights in parts:
            own, slope, curved = law.slope(thetas, weights, point)
            value += own
            gradient += slope
            hessian += curved
        if kl > 0 and natural is not None:
            held = natural > 0
            ratio = np.log(np.maximum(point[held], 1e-300) / natural[held])
            value += kl * float(point[held] @ ratio)
            gradient[held] += kl * (ratio + 1)
            hessian[held, held] += kl / np.maximum(point[held], 1e-300)
        return value, gradient, hessian

    return objective


def optimise(objective: Objective, limits: Limits, gap: float = GAP) -> Optimum:
    """The minimum over mixtures between floors and caps; the objective is convex."""
    room = limits.caps - limits.floors
    free = np.flatnonzero(room > 1e-12)
    left = 1 - limits.floors.sum()
    point = limits.floors.copy()
    if len(free) and left > 0:
        total = room[free].sum()
        point[free] += room[free] * min(left / total, 1.0)
        if left < total * (1 - 1e-12):  # otherwise the limits allow this one mixture only
            point = _tidy(_Walls(objective, limits, free).descend(point, gap), limits)
    value, gradient, _ = objective(point)
    return Optimum(point, value, gap_of(gradient, point, limits))


def gap_of(gradient: Floats, point: Floats, limits: Limits) -> float:
    """How far below the point's value any allowed mixture can be at most, by the tangent there."""
    best = limits.floors.copy()
    left = 1 - best.sum()
    for k in np.argsort(gradient, kind="stable"):
        taken = min(left, limits.caps[k] - best[k])
        best[k] += taken
        left -= taken
    return max(float(gradient @ (point - best)), 0.0)


@dataclass(frozen=True)
class _Walls:
    """The objective within logarithmic walls of a height; `free` are the domains with room."""

    objective: Objective
    limits: Limits
    free: NDArray[np.int64]

    def descend(self, point: Floats, gap: float) -> Floats:
        """Newton's steps behind ever lower walls until the certificate is good enough."""
        height = 0.1
        while True:
            for _ in range(STEPS):
                step, decrease = self._step(point, height)
                if decrease < 1e-12 * max(height, 1e-6):
                    break
                share = self._share(point, step, decrease, height)
                if share == 0:
                    break
                point = point + share * step
            gradient = self.objective(point)[1]
            if gap_of(gradient, point, self.limits) <= gap or height < 1e-13:
                return point
            height /= 8

    def _step(self, point: Floats, height: float) -> tuple[Floats, float]:
        """Newton's step [M], which keeps the sum, and the squared decrement."""
        _, gradient, hessian = self.objective(point)
        free = self.free
        below = point[free] - self.limits.floors[free]
        above = self.limits.caps[free] - point[free]
        pull = gradient[free] - height / below + height / above
        curved = hessian[np.ix_(free, free)] + np.diag(height / below**2 + height / above**2)
        both = np.linalg.solve(curved, np.column_stack([pull, np.ones(len(free))]))
        price = both[:, 0].sum() / both[:, 1].sum()
        step = np.zeros(len(point))
        step[free] = price * both[:, 1] - both[:, 0]
        return step, float(-pull @ step[free])

    def _share(self, point: Floats, step: Floats, decrease: float, height: float) -> float:
        """How much of the step to go: within the walls, and lower by enough; 0 when nothing is."""
        free = self.free
        ends = np.where(step > 0, self.limits.caps, self.limits.floors)[free]
        with np.errstate(all="ignore"):
            room = np.where(step[free] != 0, (ends - point[free]) / step[free], np.inf)
        share = min(1.0, 0.99 * float(room.min()))
        here = self._height(point, height)
        while share > 1e-12:
            if self._height(point + share * step, height) <= here - 0.1 * share * decrease:
                return share
            share /= 2
        return 0.0

    def _height(self, point: Floats, height: float) -> float:
        """The objective with the walls."""
        below = point[self.free] - self.limits.floors[self.free]
        above = self.limits.caps[self.free] - point[self.free]
        logs = np.log(below).sum() + np.log(above).sum()
        return self.objective(point)[0] - height * float(logs)


def _tidy(point: Floats, limits: Limits) -> Floats:
    """Proportions that are only a wall's distance become the floor; the sum stays one."""
    found = point.copy()
    small = found - limits.floors < NEGLIGIBLE
    found[small] = limits.floors[small]
    widest = int(np.argmax(limits.caps - found))
    found[widest] += 1 - found.sum()
    return found
