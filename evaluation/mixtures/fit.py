"""Fits laws to the runs of one scale: one law a target, with all that predictions need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.mixtures.identify import EXPLORATORY, Span, span_of, standing
from evaluation.mixtures.laws import LAWS, Floats
from evaluation.mixtures.quality import Quality, quality
from evaluation.mixtures.selection import (
    Candidate,
    Ints,
    baselines,
    choose,
    clip_range,
    folds_of,
)
from evaluation.mixtures.table import Runs
from submissions.failures import Failure

SEED = 0


@dataclass(frozen=True)
class Calibration:
    """A larger scale's loss as intercept + slope × the law's, from `runs` runs there.

    `deviation` is the standard deviation of a run around that line (None below three runs);
    `centre` and `spread` are the mean of the law's values and the sum of squares around it.
    """

    slope: float
    intercept: float
    runs: int
    centre: float
    spread: float
    deviation: float | None


@dataclass(frozen=True)
class TargetFit:
    """The law of one target: parameters of all runs [p] and of each fold [K, p], in nats."""

    name: str
    candidate: Candidate
    theta: Floats
    fold_thetas: Floats
    residuals: Floats  # observed less out-of-fold prediction: [n]
    losses: Floats  # [n]
    tried: tuple[tuple[Candidate, float], ...]  # with their out-of-fold MAE
    calibration: Calibration | None = None

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and highest loss that is predicted."""
        return clip_range(self.losses)

    @property
    def quality(self) -> Quality:
        """Of the out-of-fold predictions."""
        return quality(self.losses - self.residuals, self.losses)

    def laws(self, mixtures: Floats) -> tuple[Floats, Floats]:
        """The law's losses of mixtures [m, M], unclipped: [m], and that of each fold [K, m]."""
        law = LAWS[self.candidate.law]
        both = law.values(np.vstack([self.theta, self.fold_thetas]), mixtures)
        return both[0], both[1:]


@dataclass(frozen=True)
class Pool:
    """The data of the runs: tokens of each domain [M], and how many each run trained on."""

    tokens: Floats
    budget: float


@dataclass(frozen=True)
class MixtureFit:
    """The laws of all targets, and the runs behind them.

    `uncalibrated` is a sentence where the losses were not measured but extrapolated to a scale.
    """

    data_hash: str
    seed: int
    law: str  # as it was asked for: a law, or auto
    domains: tuple[str, ...]
    mixtures: Floats  # [n, M]
    folds: Ints  # [n]
    targets: tuple[TargetFit, ...]
    notes: tuple[str, ...]
    uncalibrated: str | None = None
    pool: Pool | None = None

    @property
    def standing(self) -> str:
        """`prediction`, or `exploratory` for few runs."""
        return standing(self.mixtures)

    @property
    def span(self) -> Span:
        """The directions in which the runs varied."""
        return span_of(self.domains, self.mixtures)

    def baselines(self) -> dict[str, dict[str, Quality]]:
        """The quality of the mean and of a linear model, out of fold as well, for each target."""
        return {
            target.name: {
                name: quality(values, target.losses)
                for name, values in baselines(self.mixtures, target.losses, self.folds).items()
            }
            for target in self.targets
        }


def fit_runs(
    runs: Runs, law: str, seed: int = SEED, tick: Callable[[str], None] = lambda _name: None
) -> MixtureFit:
    """One law a target. `law` is m4, edp, pslx, or auto, which takes the best in cross-validation.

    `tick` gets the name of each target before it is fitted. Raises `too_few_runs` and
    `runs_invalid` (a target that never changes).
    """
    r = runs.mixtures.values
    status = standing(r)
    span = span_of(runs.domains, r)
    if len(span.fixed) >= len(runs.domains) - 1:
        raise Failure("runs_invalid", "all runs have the same mixture: nothing can be learned")
    folds = folds_of(r, seed)
    targets = []
    for name, y in zip(runs.targets, runs.losses.T, strict=True):
        if np.ptp(y) <= 1e-9 * abs(float(y[0])):
            raise Failure(
                "runs_invalid", f"{name} is the same in every run: nothing can be learned"
            )
        tick(name)
        chosen = choose(law, r, np.ascontiguousarray(y), folds)
        best = chosen.best
        residuals = y - best.out_of_fold
        targets.append(
            TargetFit(
                name,
                best.candidate,
                best.theta,
                best.fold_thetas,
                residuals,
                y.copy(),
                chosen.tried,
            )
        )
    notes = list(runs.notes)
    if status == EXPLORATORY:
        said = f"fewer than {2 * len(runs.domains)} different mixtures: exploratory, no prediction"
        notes.append(said)
    notes += [f"not identified: {sentence}" for sentence in span.sentences]
    return MixtureFit(
        runs.data_hash, seed, law, runs.domains, r, folds, tuple(targets), tuple(notes)
    )
