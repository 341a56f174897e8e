"""The recommended mixture, its gain, and the precision of both.

The bootstrap draws the trained mixtures anew, fits every law again and finds each draw's own best
mixture: their range is the spread, and what the recommended one loses against them is the expected
regret. The gain over the natural mixture has an interval from held-out errors instead, since a
bootstrap of the law cannot see the law's own faults.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.mixtures.fit import MixtureFit, TargetFit
from evaluation.mixtures.fitting import fit_law
from evaluation.mixtures.identify import escapes, never_varied
from evaluation.mixtures.intervals import LEVEL
from evaluation.mixtures.laws import Floats
from evaluation.mixtures.limits import Limits
from evaluation.mixtures.optimum import BINDING, Objective, Optimum, law_objective, optimise
from submissions.failures import Failure

RESAMPLES = 100
# A resample's law starts from that of all runs and takes so many steps: the bootstrap's spread
# needs no further digits.
BOOTSTRAP_STEPS = 12
DRAWN_GAP = 1e-5  # nats, of a resample's own optimum
PAIRS = 20_000


@dataclass(frozen=True)
class Goal:
    """What is minimised: weights >= 0 of the targets [T], and kl × KL(r || natural)."""

    weights: Floats
    kl: float = 0.0
    natural: Floats | None = None


@dataclass(frozen=True)
class Spread:
    """Of the bootstrap's best mixtures: 5 % and 95 % of each domain [M], and the regret in nats."""

    low: Floats
    high: Floats
    regret: float
    regret_high: float  # 95 % of the draws lose less
    resamples: int


@dataclass(frozen=True)
class Gain:
    """How much lower the weighted loss is than the natural mixture's, with its 90 % interval."""

    value: float
    low: float
    high: float


def within_span(fit: MixtureFit, limits: Limits) -> Limits:
    """The limits with never varied domains held at their share: nothing is known of another.

    Raises `limits_infeasible` where a limit forbids that share, or the others cannot fill up.
    """
    floors, caps = limits.floors.copy(), limits.caps.copy()
    for k in never_varied(fit.mixtures):
        share = float(fit.mixtures[:, k].mean())
        if not floors[k] - BINDING <= share <= caps[k] + BINDING:
            said = (
                f"{fit.domains[k]} was never varied from {share:.4g}, and the limits allow "
                f"{floors[k]:.4g} to {caps[k]:.4g}: train runs that vary it"
            )
            raise Failure("limits_infeasible", said)
        floors[k] = caps[k] = share
    held = Limits(floors, caps)
    held.check(fit.domains)
    return held


def recommend(fit: MixtureFit, goal: Goal, limits: Limits) -> Optimum:
    """The best mixture.

    Raises `refused` for a calibration that reverses the order, and where the best mixture moves
    along a direction that no run varied.
    """
    best = optimise(_objective(fit, goal, [target.theta for target in fit.targets]), limits)
    if escapes(fit.span, best.mixture[None]).any():
        said = "the best mixture moves where the runs cannot tell: " + "; ".join(fit.span.sentences)
        raise Failure("refused", f"{said}. Train runs that vary it")
    return best


def spread_of(
    fit: MixtureFit, goal: Goal, limits: Limits, best: Optimum, resamples: int = RESAMPLES
) -> Spread:
    """Bootstrap over the runs, seeded by the fit's seed."""
    generator = np.random.default_rng(fit.seed)
    runs = len(fit.mixtures)
    weights = generator.multinomial(runs, np.full(runs, 1 / runs), size=resamples).astype(float)
    used = [k for k, weight in enumerate(goal.weights) if weight > 0]
    thetas = {k: _resampled(fit, fit.targets[k], weights) for k in used}
    mixtures, regrets = [], []
    for draw in range(resamples):
        drawn = [
            thetas[k][draw] if k in thetas else target.theta for k, target in enumerate(fit.targets)
        ]
        objective = _objective(fit, goal, drawn)
        own = optimise(objective, limits, DRAWN_GAP)
        mixtures.append(own.mixture)
        regrets.append(max(objective(best.mixture)[0] - own.value, 0.0))
    low, high = np.quantile(mixtures, [0.05, 0.95], axis=0)
    return Spread(low, high, float(np.mean(regrets)), float(np.quantile(regrets, 0.95)), resamples)


def gain_over(fit: MixtureFit, goal: Goal, best: Floats, natural: Floats) -> Gain:
    """Of the weighted losses, without the KL term; an interval from pairs of held-out errors."""
    both = np.vstack([best, natural])
    value, by_fold = 0.0, np.zeros(int(fit.folds.max()) + 1)
    errors = np.zeros(len(fit.mixtures))
    for weight, target in zip(goal.weights, fit.targets, strict=True):
        share = weight * _slope(target)
        whole, folds = target.laws(both)
        value += share * float(whole[1] - whole[0])
        by_fold += share * (folds[:, 1] - folds[:, 0])
        errors += share * target.residuals
    generator = np.random.default_rng(fit.seed)
    one, other = generator.integers(len(errors), size=(2, PAIRS))
    drawn = by_fold[fit.folds[one]] + errors[one] - errors[other]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Gain(value, min(float(low), value), max(float(high), value))


def binding(fit: MixtureFit, limits: Limits, mixture: Floats) -> list[tuple[str, str]]:
    """The domains that a limit holds, with `cap`, `floor` or `fixed`."""
    found = []
    for k, name in enumerate(fit.domains):
        if limits.caps[k] == limits.floors[k]:
            found.append((name, "fixed"))
        elif limits.caps[k] < 1 and mixture[k] >= limits.caps[k] - BINDING:
            found.append((name, "cap"))
        elif limits.floors[k] > 0 and mixture[k] <= limits.floors[k] + BINDING:
            found.append((name, "floor"))
    return found


def _objective(fit: MixtureFit, goal: Goal, thetas: list[Floats]) -> Objective:
    laws = [
        (target.candidate.law, theta, float(weight) * _slope(target))
        for target, theta, weight in zip(fit.targets, thetas, goal.weights, strict=True)
    ]
    return law_objective(laws, goal.kl, goal.natural)


def _slope(target: TargetFit) -> float:
    """The change of the predicted scale's loss for each nat of the law's."""
    if target.calibration is None:
        return 1.0
    if target.calibration.slope <= 0:
        said = (
            f"{target.name}: at the larger scale a lower predicted loss goes with a higher one; "
            "no best mixture follows from such a calibration"
        )
        raise Failure("refused", said)
    return target.calibration.slope


def _resampled(fit: MixtureFit, target: TargetFit, weights: Floats) -> Floats:
    """The parameters of each resample's law: [B, p]."""
    return fit_law(
        target.candidate.law,
        fit.mixtures,
        target.losses,
        weights,
        target.candidate.lam,
        np.tile(target.theta, (len(weights), 1)),
        BOOTSTRAP_STEPS,
    )
