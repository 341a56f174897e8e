"""Least squares for a law: Huber's loss and a ridge in a box, and non-negative linear systems.

Small dense problems of some 40 parameters, thousands of them a fit: a Levenberg-Marquardt step in
numpy costs a fraction of a millisecond, a call of a general solver several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.mixtures.laws import Box

Floats = NDArray[np.float64]
Model = Callable[[Floats], tuple[Floats, Floats]]  # parameters to values [n] and jacobian [n, p]

HUBER = 0.05  # nats; the authors of the mixing laws fit with 0.02 to 0.05
ITERATIONS = 300
TOLERANCE = 1e-7  # relative decrease of the cost below which a fit has converged


@dataclass(frozen=True)
class Solution:
    """The parameters [p] and their cost."""

    theta: Floats
    cost: float


def huber_cost(errors: Floats) -> float:
    """The sum of Huber's loss: a square's half up to HUBER nats, a straight line beyond."""
    size = np.abs(errors)
    return float(np.where(size <= HUBER, size**2 / 2, HUBER * (size - HUBER / 2)).sum())


def minimise(
    model: Model,
    y: Floats,
    start: Floats,
    box: Box,
    penalty: Floats,
    iterations: int = ITERATIONS,
) -> Solution:
    """Levenberg-Marquardt on Huber's loss of `y` less the model, plus θ·penalty·θ / 2, in the box.

    A parameter at its bound that the gradient pushes outwards is held; the step of the others is
    projected. The cost never increases. Huber's loss enters by weights, as iteratively reweighted
    least squares do (Holland and Welsch 1977).
    """
    theta = np.clip(start, box.lower, box.upper)
    values, jacobian = model(theta)
    cost = huber_cost(y - values) + float(theta @ penalty @ theta) / 2
    damping, calm = 1e-3, 0
    for _ in range(iterations):
        errors = y - values
        weights = HUBER / np.maximum(np.abs(errors), HUBER)
        weighted = jacobian.T * weights
        gradient = penalty @ theta - weighted @ errors
        curvature = weighted @ jacobian + penalty
        held = ((theta <= box.lower) & (gradient > 0)) | ((theta >= box.upper) & (gradient < 0))
        free = np.flatnonzero(~held)
        if not len(free):
            break
        better = None
        while damping < 1e10:
            trial = _step(theta, gradient, curvature, free, damping, box)
            with np.errstate(all="ignore"):
                trial_values, trial_jacobian = model(trial)
                trial_cost = huber_cost(y - trial_values) + float(trial @ penalty @ trial) / 2
            if np.isfinite(trial_cost) and trial_cost < cost:
                better = (trial, trial_values, trial_jacobian, trial_cost)
                break
            damping *= 5
        if better is None:
            break
        gain = cost - better[3]
        theta, values, jacobian, cost = better
        damping = max(damping / 5, 1e-9)
        calm = calm + 1 if gain <= TOLERANCE * cost else 0
        if calm == 3:
            break
    return Solution(theta, cost)


def _step(
    theta: Floats, gradient: Floats, curvature: Floats, free: NDArray[np.int64], damping: float,
    box: Box,
) -> Floats:  # fmt: skip
    """The damped step of the free parameters, projected onto the box."""
    system = curvature[np.ix_(free, free)]
    diagonal = np.einsum("ii->i", system)
    diagonal += damping * (diagonal + 1e-6)
    trial = theta.copy()
    trial[free] -= np.linalg.solve(system, gradient[free])
    return np.clip(trial, box.lower, box.upper)


def nonnegative(matrix: Floats, target: Floats) -> Floats:
    """The x >= 0 [p] that makes matrix [n, p] times x closest to target [n].

    Lawson and Hanson, "Solving Least Squares Problems" (1974), chapter 23.
    """
    size = matrix.shape[1]
    x = np.zeros(size)
    taken = np.zeros(size, dtype=bool)
    scale = float(np.abs(matrix.T @ target).max(initial=0.0))
    for _ in range(3 * size):
        pull = matrix.T @ (target - matrix @ x)
        pull[taken] = -np.inf
        new = int(np.argmax(pull))
        if taken.all() or pull[new] <= 1e-11 * scale:
            break
        taken[new] = True
        while taken.any():
            solved = np.zeros(size)
            solved[taken] = np.linalg.lstsq(matrix[:, taken], target, rcond=None)[0]
            wrong = taken & (solved <= 0)
            if not wrong.any():
                x = solved
                break
            share = (x[wrong] / (x[wrong] - solved[wrong] + 1e-300)).min()
            x = np.maximum(x + share * (solved - x), 0)
            taken &= x > 1e-14 * max(float(x.max()), 1e-300)
    return x
