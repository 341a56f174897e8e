"""Least squares for a law: Huber's loss and a ridge in a box, and non-negative linear systems.

A cross-validation fits one law to many subsets of the same runs. All of them take their steps
together, as one batch of small dense systems; a general solver would be called thousands of times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.mixtures.laws import Floats, Law

HUBER = 0.05  # nats; the authors of the mixing laws fit with 0.02 to 0.05
ITERATIONS = 100
TOLERANCE = 1e-5  # relative decrease of the cost below which a step has changed nothing
CALM = 4  # such steps in a row, after which a fit has converged
LARGEST_DAMPING = 1e8


@dataclass(frozen=True)
class Problems:
    """B fits of one law to the same mixtures: losses and weights of each, its ridge and bounds."""

    law: Law
    r: Floats  # [n, M]
    y: Floats  # [B, n], nats
    weights: Floats  # [B, n], how often a run counts; 0 leaves it out
    penalty: Floats  # [p, p]
    lower: Floats  # [B, p]
    upper: Floats  # [B, p]

    def part(self, which: NDArray[np.int64]) -> Problems:
        """Some of the fits, by their numbers."""
        chosen = (self.y[which], self.weights[which])
        bounds = (self.lower[which], self.upper[which])
        return Problems(self.law, self.r, *chosen, self.penalty, *bounds)

    def cost(self, theta: Floats, values: Floats) -> Floats:
        """What each fit minimises: [B]. Huber's loss is a square's half, beyond HUBER a line."""
        size = np.abs(self.y - values)
        huber = np.where(size <= HUBER, size**2 / 2, HUBER * (size - HUBER / 2))
        ridge = ((theta @ self.penalty) * theta).sum(axis=1)
        found: Floats = (self.weights * huber).sum(axis=1) + ridge / 2
        return found


def minimise(
    problems: Problems, start: Floats, iterations: int = ITERATIONS
) -> tuple[Floats, Floats]:
    """Levenberg-Marquardt from start [B, p]: the parameters [B, p] and costs [B] it arrives at.

    A parameter at its bound that the gradient pushes outwards is held; the step of the others is
    projected. No cost ever increases. Huber's loss enters by weights, as iteratively reweighted
    least squares do (Holland and Welsch, Communications in Statistics A6, 1977).
    """
    found = np.clip(start, problems.lower, problems.upper)
    costs = np.empty(len(found))
    running = np.arange(len(found))
    now = problems
    theta = found
    values, jacobian = now.law.jacobian(theta, now.r)
    cost = now.cost(theta, values)
    damping, calm = np.full(len(found), 1e-3), np.zeros(len(found), dtype=np.int64)
    for _ in range(iterations):
        trial = _stepped(now, theta, values, jacobian, damping)
        with np.errstate(all="ignore"):
            trial_values, trial_jacobian = now.law.jacobian(trial, now.r)
            trial_cost = np.nan_to_num(now.cost(trial, trial_values), nan=np.inf, posinf=np.inf)
        better = trial_cost < cost
        calm = np.where(better & (cost - trial_cost > TOLERANCE * cost), 0, calm + better)
        damping = np.where(better, np.maximum(damping / 5, 1e-9), damping * 5)
        cost = np.where(better, trial_cost, cost)
        theta = np.where(better[:, None], trial, theta)
        values = np.where(better[:, None], trial_values, values)
        jacobian = np.where(better[:, None, None], trial_jacobian, jacobian)
        done = (calm >= CALM) | (damping > LARGEST_DAMPING)
        if done.any():
            found[running[done]], costs[running[done]] = theta[done], cost[done]
            left = np.flatnonzero(~done)
            if not len(left):
                return found, costs
            running, now = running[left], now.part(left)
            theta, values, jacobian = theta[left], values[left], jacobian[left]
            cost, damping, calm = cost[left], damping[left], calm[left]
    found[running], costs[running] = theta, cost
    return found, costs


def _stepped(
    now: Problems, theta: Floats, values: Floats, jacobian: Floats, damping: Floats
) -> Floats:
    """Each fit's damped step, projected onto its box: [B, p]."""
    errors = now.y - values
    weights = now.weights * (HUBER / np.maximum(np.abs(errors), HUBER))
    weighted = (jacobian * weights[:, :, None]).transpose(0, 2, 1)
    gradient = theta @ now.penalty - (weighted @ errors[:, :, None])[:, :, 0]
    curvature = weighted @ jacobian + now.penalty
    held = ((theta <= now.lower) & (gradient > 0)) | ((theta >= now.upper) & (gradient < 0))
    diagonal = np.einsum("bii->bi", curvature)
    diagonal += damping[:, None] * (diagonal + 1e-6)
    free = ~held
    curvature *= free[:, :, None] & free[:, None, :]
    diagonal += held
    step = np.linalg.solve(curvature, (gradient * free)[:, :, None])[:, :, 0]
    moved: Floats = np.clip(theta - step, now.lower, now.upper)
    return moved


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
