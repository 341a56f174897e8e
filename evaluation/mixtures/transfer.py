"""From a small scale to a large one: a line through k runs that were trained there.

An uncalibrated law misses the level of the larger scale by far; a line from it, y = a + b × law,
needs few runs. Its slope is shrunk towards the ratio of the two levels, which is all that a single
run can tell, with the weight of a tenth of the variance that the small losses have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evaluation.mixtures.fit import Calibration, MixtureFit, TargetFit
from evaluation.mixtures.identify import escapes
from evaluation.mixtures.laws import Floats
from evaluation.mixtures.quality import Quality, quality
from evaluation.mixtures.table import Runs
from submissions.failures import Failure

# Of the small losses' variance. From 1M to 1B parameters on RegMix 0.03 to 0.1 was best at 1 to 8
# runs (docs/mixture-lab.md).
SHRINKAGE = 0.1


@dataclass(frozen=True)
class Transfer:
    """One target at the larger scale.

    `calibrated` and `mean` are the quality of leave-one-out predictions by the line and by the mean
    of the other runs, None for a single run; `uncalibrated` is that of the law's own values.
    """

    name: str
    line: Calibration
    calibrated: Quality | None
    mean: Quality | None
    uncalibrated: Quality


def calibrate(fit: MixtureFit, runs: Runs) -> tuple[MixtureFit, list[Transfer]]:
    """The fit for the scale of `runs`, whose domains are those of the fit in its order.

    Targets that `runs` does not have fall away. Raises `fit_invalid` for a fit that is calibrated
    already, `runs_invalid` where nothing can be compared.
    """
    if any(target.calibration is not None for target in fit.targets):
        raise Failure(
            "fit_invalid", "the fit is already calibrated: name the fit of the small scale"
        )
    mixtures = runs.mixtures.values
    if escapes(fit.span, mixtures).any():
        said = "a run moves along a direction that the small scale never varied"
        raise Failure("runs_invalid", said)
    targets, reports = [], []
    for target in fit.targets:
        if target.name not in runs.targets:
            continue
        y = np.ascontiguousarray(runs.losses[:, runs.targets.index(target.name)])
        x = np.clip(target.laws(mixtures)[0], *target.range)
        line = line_of(x, y, float(target.losses.var()))
        targets.append(replace(target, calibration=line))
        reports.append(_report(target, line, x, y))
    if not targets:
        raise Failure("runs_invalid", "the larger runs have none of the fit's targets")
    notes = list(fit.notes)
    if len(y) < 3:
        notes.append("fewer than 3 runs at the larger scale: predictions there have no interval")
    dropped = [t.name for t in fit.targets if t.name not in runs.targets]
    if dropped:
        notes.append(f"no losses at the larger scale: {', '.join(dropped)}")
    there = replace(fit, targets=tuple(targets), notes=tuple(notes), uncalibrated=None)
    return there, reports


def line_of(x: Floats, y: Floats, variance: float) -> Calibration:
    """y = intercept + slope × x from k runs [k]; `variance` is that of the small scale's losses."""
    centre, level = float(x.mean()), float(y.mean())
    away, rise = x - centre, y - level
    spread = float(away @ away)
    weight = SHRINKAGE * variance
    slope = (float(away @ rise) + weight * level / centre) / (spread + weight)
    deviation = None
    if len(x) >= 3:
        left = rise - slope * away
        deviation = float(np.sqrt(left @ left / (len(x) - 2)))
    return Calibration(slope, level - slope * centre, len(x), centre, spread, deviation)


def _report(target: TargetFit, line: Calibration, x: Floats, y: Floats) -> Transfer:
    calibrated = mean = None
    if len(x) > 1:
        by_line, by_mean = np.empty(len(x)), np.empty(len(x))
        for k in range(len(x)):
            others = np.arange(len(x)) != k
            own = line_of(x[others], y[others], float(target.losses.var()))
            by_line[k] = own.intercept + own.slope * x[k]
            by_mean[k] = y[others].mean()
        calibrated, mean = quality(by_line, y), quality(by_mean, y)
    return Transfer(target.name, line, calibrated, mean, quality(x, y))
