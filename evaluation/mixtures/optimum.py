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

from evaluation.mixtures.laws import LAWS, Floats
from evaluation.mixtures.limits import Limits

# A point to its value, gradient [M] and Hessian [M, M].
Objective = Callable[[Floats], tuple[float, Floats, Floats]]

GAP = 1e-7  # nats at which the search ends
NEGLIGIBLE = 1e-7  # proportions that are only the wall's distance from the floor
BINDING = 1e-6


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
    parts = [(LAWS[name], theta, weight) for name, theta, weight in laws if weight > 0]

    def objective(point: Floats) -> tuple[float, Floats, Floats]:
        size = len(point)
        value, gradient, hessian = 0.0, np.zeros(size), np.zeros((size, size))
        for law, theta, weight in parts:
            own, slope, curved = law.slope(theta, point)
            value += weight * own
            gradient += weight * slope
            hessian += weight * curved
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
    floors, caps = limits.floors, limits.caps
    free = np.flatnonzero(caps - floors > 1e-12)
    room = caps[free] - floors[free]
    left = 1 - floors.sum()
    point = floors.copy()
    if len(free) and left > 0:
        point[free] += room * min(left / room.sum(), 1.0)
        if left < room.sum() * (1 - 1e-12):
            point = _descend(objective, point, floors, caps, free, gap)
            point = _tidy(point, floors, caps)
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


def _descend(
    objective: Objective, point: Floats, floors: Floats, caps: Floats, free: np.ndarray, gap: float
) -> Floats:
    """Newton's steps behind ever lower walls until the certificate is good enough."""
    limits = Limits(floors, caps)
    wall = 0.1
    while True:
        for _ in range(50):
            step, decrease = _newton_step(objective, point, floors, caps, free, wall)
            if decrease < 1e-12 * max(wall, 1e-6) or not (moved := _backtrack(
                objective, point, step, decrease, floors, caps, free, wall
            )):  # fmt: skip
                break
            point = point + moved * step
        _, gradient, _ = objective(point)
        if gap_of(gradient, point, limits) <= gap or wall < 1e-13:
            return point
        wall /= 8


def _newton_step(
    objective: Objective, point: Floats, floors: Floats, caps: Floats, free: np.ndarray, wall: float
) -> tuple[Floats, float]:
    """The step [M], which keeps the sum, and the squared decrement."""
    _, gradient, hessian = objective(point)
    below, above = point[free] - floors[free], caps[free] - point[free]
    pull = gradient[free] - wall / below + wall / above
    curved = hessian[np.ix_(free, free)] + np.diag(wall / below**2 + wall / above**2)
    both = np.linalg.solve(curved, np.column_stack([pull, np.ones(len(free))]))
    price = both[:, 0].sum() / both[:, 1].sum()
    step = np.zeros(len(point))
    step[free] = price * both[:, 1] - both[:, 0]
    return step, float(-pull @ step[free])


def _backtrack(
    objective: Objective, point: Floats, step: Floats, decrease: float, floors: Floats,
    caps: Floats, free: np.ndarray, wall: float,
) -> float:  # fmt: skip
    """How much of the step to go: inside the walls, and lower by enough; 0 when nothing is."""

    def walled(where: Floats) -> float:
        logs = np.log(where[free] - floors[free]).sum() + np.log(caps[free] - where[free]).sum()
        return objective(where)[0] - wall * float(logs)

    room = np.where(step[free] < 0, floors[free] - point[free], caps[free] - point[free])
    with np.errstate(all="ignore"):
        share = min(1.0, 0.99 * float(np.min(np.where(step[free] != 0, room / step[free], np.inf))))
    here = walled(point)
    while share > 1e-12:
        if walled(point + share * step) <= here - 0.1 * share * decrease:
            return share
        share /= 2
    return 0.0


def _tidy(point: Floats, floors: Floats, caps: Floats) -> Floats:
    """Proportions that are only a wall's distance become the floor; the sum stays one."""
    found = point.copy()
    small = found - floors < NEGLIGIBLE
    found[small] = floors[small]
    widest = int(np.argmax(caps - found))
    found[widest] += 1 - found.sum()
    return found
