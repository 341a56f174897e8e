"""Predicts losses of mixtures: a value, a 90 % interval, and flags that warn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evaluation.mixtures.fit import MixtureFit, TargetFit
from evaluation.mixtures.identify import EXPLORATORY, beyond_seen, escapes, in_hull
from evaluation.mixtures.intervals import LEVEL, cv_plus
from evaluation.mixtures.laws import Floats
from evaluation.student import quantile


@dataclass(frozen=True)
class Predictions:
    """Losses in nats of m mixtures and T targets, [m, T] each; NaN where there is none.

    `flags` are those of each mixture: `outside_hull`, `beyond_seen:DOMAIN`, `clipped:TARGET`,
    `exploratory`, `uncalibrated`, `no_interval`, and `unidentified`, whose losses are refused.
    """

    values: Floats
    low: Floats
    high: Floats
    flags: tuple[tuple[str, ...], ...]


def predict(fit: MixtureFit, mixtures: Floats) -> Predictions:
    """For mixtures [m, M] with the domains of the fit in its order."""
    shape = (len(mixtures), len(fit.targets))
    values, low, high = np.empty(shape), np.empty(shape), np.empty(shape)
    flags = guards(fit, mixtures)
    for k, target in enumerate(fit.targets):
        values[:, k], low[:, k], high[:, k], clipped = predict_target(fit, target, mixtures)
        for row in np.flatnonzero(clipped):
            flags[row].append(f"clipped:{target.name}")
    refused = np.array(["unidentified" in each for each in flags])
    for found in (values, low, high):
        found[refused] = math.nan
    for row in np.flatnonzero(~refused & np.isnan(low).any(axis=1)):
        flags[row].append("no_interval")
    return Predictions(values, low, high, tuple(tuple(each) for each in flags))


def guards(fit: MixtureFit, mixtures: Floats) -> list[list[str]]:
    """The flags of each mixture that need no law."""
    standing, span = fit.standing, fit.span
    unknown = escapes(span, mixtures)
    found: list[list[str]] = []
    for row, mixture in enumerate(mixtures):
        flags = ["unidentified"] if unknown[row] else []
        if not in_hull(fit.mixtures, mixture):
            flags.append("outside_hull")
        flags += [f"beyond_seen:{fit.domains[k]}" for k in beyond_seen(fit.mixtures, mixture)]
        if standing == EXPLORATORY:
            flags.append(EXPLORATORY)
        if fit.uncalibrated:
            flags.append("uncalibrated")
        found.append(flags)
    return found


def predict_target(
    fit: MixtureFit, target: TargetFit, mixtures: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Values, lower and upper ends [m] of one target, and where the law was clipped."""
    raw, by_fold = target.laws(mixtures)
    bounds = target.range
    values = np.clip(raw, *bounds)
    clipped = values != raw
    if target.calibration is not None:
        return *_calibrated(target, values), clipped
    low, high = cv_plus(np.clip(by_fold, *bounds), fit.folds, np.abs(target.residuals))
    # The interval is made of the folds' laws; the law of all runs may lie just outside.
    return values, np.minimum(low, values), np.maximum(high, values), clipped


def _calibrated(target: TargetFit, values: Floats) -> tuple[Floats, Floats, Floats]:
    """At the larger scale: the line, and Student's interval around it for a new run."""
    line = target.calibration
    assert line is not None
    there = line.intercept + line.slope * values
    if line.deviation is None:
        return there, np.full(len(there), math.nan), np.full(len(there), math.nan)
    spread = line.spread if line.spread > 0 else math.inf
    error = line.deviation * np.sqrt(1 + 1 / line.runs + (values - line.centre) ** 2 / spread)
    half = quantile(0.5 + LEVEL / 2, line.runs - 2) * error
    return there, there - half, there + half
