"""The precision of a score: standard errors, bootstrap intervals and paired differences.

The tasks are fixed; the choice of their questions is the source of chance. So the questions are
drawn anew within each stratum (a task file, or a category of it), never the tasks.
An outcome is a bit, therefore a resample needs no single question: the counts of the patterns of
bits (right in both tasks of a file, in one, in none) are one multinomial draw a stratum, which is
exactly the bootstrap of Efron (Annals of Statistics 7, 1979) and costs nothing.

A task of 32 questions with no right answer, or on which two models never differed, would have no
error at all that way. Intervals and p-values therefore count four more questions a stratum,
answered by coin: two right and two wrong for one model (Agresti and Coull, American Statistician
52, 1998), one of each kind for two (after Agresti and Min, Statistics in Medicine 24, 2005). The
scores themselves, and the standard errors, are those of the answers alone.

Paired differences compare two models question by question, as Dietterich (Neural Computation 10,
1998) and Miller ("Adding Error Bars to Evals", arXiv 2411.00640) recommend. For training with
another seed see `spread_of_runs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, stdev
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from evaluation.answers import Answers, Stratum, strata_of
from evaluation.metrics import MMLU, aggregates
from evaluation.suite import Suite

Floats = NDArray[np.float64]
RESAMPLES = 5_000
ADDED = 4  # questions a stratum, answered by coin: in intervals and p-values only
SEED = 20_240_617  # fixed, so that the same resamples can be drawn again
LEVEL = 0.95
Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)


@dataclass(frozen=True)
class Figure:
    """A weighted sum of tasks' accuracies: the sum of weight × accuracy, less `offset`."""

    name: str
    weights: Mapping[str, float]
    offset: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and 95 % interval; `p` is two-sided, against zero."""

    value: float
    stderr: float | None
    interval: tuple[float, float] | None
    p: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form that documents use."""
        interval = None if self.interval is None else list(self.interval)
        found = {"value": self.value, "stderr": self.stderr, "interval": interval}
        return found if self.p is None else found | {"p": self.p}


def figures_of(suite: Suite, metric_version: str, answered: Sequence[str]) -> list[Figure]:
    """The suite's means over tasks (and MMLU) of which every task is `answered`."""
    known = set(answered)
    found = []
    for name, tasks in aggregates(suite).items():
        if not tasks or not all(task.label in known for task in tasks):
            continue
        shares = {task.label: task.baselines[metric_version] / 100 for task in tasks}
        weights = {label: 1 / (1 - share) / len(tasks) for label, share in shares.items()}
        offset = math.fsum(share / (1 - share) for share in shares.values()) / len(tasks)
        found.append(Figure(name, weights, offset))
    if MMLU in known and any(task.label == MMLU for task in suite.tasks):
        found.append(Figure("mmlu", {MMLU: 1.0}))
    return found


def estimates(
    suite: Suite, answers: Answers, metric_version: str, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Each mean over tasks with its standard error and bootstrap interval."""
    figures = figures_of(suite, metric_version, list(answers))
    if not figures:
        return {}
    strata = strata_of(suite, [answers])
    drawn = bootstrap(strata, figures, resamples)[:, 0]
    return {
        figure.name: Estimate(
            float(points(strata, figure)[0]),
            _root(covariance(strata, figure), np.ones(1)),
            _percentiles(drawn[:, number]),
        )
        for number, figure in enumerate(figures)
    }


def differences(
    suite: Suite, one: Answers, other: Answers, metric_version: str, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Each mean over tasks of `one` less that of `other`, from the same questions.

    Raises `results_invalid` where they did not answer the same questions.
    """
    strata = strata_of(suite, [one, other])
    shared = [label for stratum in strata for label in stratum.labels]
    figures = figures_of(suite, metric_version, shared)
    if not figures:
        return {}
    drawn = bootstrap(strata, figures, resamples)
    found = {}
    for number, figure in enumerate(figures):
        values = points(strata, figure)
        apart = np.array([1.0, -1.0])
        interval = _percentiles(drawn[:, 0, number] - drawn[:, 1, number])
        value = float(values[0] - values[1])
        p = p_of(value, _root(covariance(strata, figure, added=ADDED), apart))
        error = _root(covariance(strata, figure), apart)
        found[figure.name] = Estimate(value, error, interval, p)
    return found


def points(strata: Sequence[Stratum], figure: Figure) -> Floats:
    """The figure of each model: [models]."""
    total = np.full(_models(strata), -figure.offset)
    for stratum in strata:
        total += stratum.correct.mean(axis=2) @ _weights(stratum, figure)
    return total


def covariance(strata: Sequence[Stratum], figure: Figure, added: int = 0) -> Floats | None:
    """Of the models' figures, from the choice of questions: [models, models].

    Without `added` questions it is that of the answers alone, with n − 1; None then where a stratum
    that counts holds a single question, since one cannot say how much it varies.
    """
    total = np.zeros((_models(strata), _models(strata)))
    for stratum in strata:
        weights = _weights(stratum, figure)
        if not weights.any():
            continue
        models, labels, count = stratum.correct.shape
        if count < 2 and not added:
            return None
        right = stratum.correct.reshape(models * labels, count).astype(np.float32)
        both = (right @ right.T).astype(np.float64)  # counts below 2^24: exact in float32
        both += added * (1 + np.eye(models * labels)) / 4  # two coins agree on heads: a quarter
        share = np.diag(both) / (count + added)
        spread = both / (count + added) - np.outer(share, share)
        spread /= count if added else count - 1
        spread = spread.reshape(models, labels, models, labels)
        total += np.einsum("mlnk,l,k->mn", spread, weights, weights)
    return total


def bootstrap(
    strata: Sequence[Stratum], figures: Sequence[Figure], resamples: int = RESAMPLES
) -> Floats:
    """Figures of resampled suites: [resamples, models, figures]; for one model or two.

    The same resampled questions serve all models and figures, so differences are paired.
    """
    generator = np.random.default_rng(SEED)
    models = _models(strata)
    total = np.zeros((resamples, models * len(figures)))
    for stratum in strata:
        patterns, counts = _patterns(stratum)
        weights = np.array([_weights(stratum, figure) for figure in figures])
        worth = np.einsum("pml,fl->pmf", patterns, weights).reshape(len(counts), -1)
        size = stratum.correct.shape[2]
        chances = (counts + ADDED / len(counts)) / (size + ADDED)
        drawn = generator.multinomial(size, chances, size=resamples)
        # The added questions widen the draws; they must not move their middle.
        total += drawn @ worth / size + (counts / size - chances) @ worth
    offsets = np.array([figure.offset for figure in figures])
    result: Floats = total.reshape(resamples, models, len(figures)) - offsets
    return result


def _patterns(stratum: Stratum) -> tuple[Floats, NDArray[np.int64]]:
    """All combinations of right and wrong [patterns, models, labels], and how often they occur."""
    models, labels, size = stratum.correct.shape
    bits = 1 << np.arange(models * labels)
    codes = bits @ stratum.correct.reshape(models * labels, size)
    counts = np.bincount(codes, minlength=1 << len(bits))
    patterns = (np.arange(len(counts))[:, None] & bits) > 0
    return patterns.astype(np.float64).reshape(len(counts), models, labels), counts


def _weights(stratum: Stratum, figure: Figure) -> Floats:
    """What a right answer adds to the figure, times the questions of the stratum: [labels]."""
    weights = [figure.weights.get(label, 0.0) for label in stratum.labels]
    return np.array(weights) / stratum.categories


def _models(strata: Sequence[Stratum]) -> int:
    return strata[0].correct.shape[0] if strata else 1


def _root(matrix: Floats | None, contrast: Floats) -> float | None:
    if matrix is None:
        return None
    return math.sqrt(max(float(contrast @ matrix @ contrast), 0.0))


def _percentiles(drawn: Floats) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@overload
def p_of(value: float, stderr: float) -> float: ...
@overload
def p_of(value: float, stderr: float | None) -> float | None: ...
def p_of(value: float, stderr: float | None) -> float | None:
    """Two-sided p-value of a difference by its standard error; 1 for no difference at all."""
    if stderr is None:
        return None
    if abs(value) < 1e-12:  # rounding: the same score
        return 1.0
    return math.erfc(abs(value) / stderr / math.sqrt(2)) if stderr > 0 else 0.0


@dataclass(frozen=True)
class Spread:
    """Several runs that differ in their seed: their mean, and how far they differ.

    `stdev` is the standard deviation between the runs and `stderr` that of their mean. The runs
    answered the same questions, so neither holds the error from the choice of questions, which
    every single score carries: the two errors add as squares.
    """

    runs: int
    mean: float
    stdev: float
    stderr: float


def spread_of_runs(values: Sequence[float]) -> Spread | None:
    """None for fewer than two runs."""
    if len(values) < 2:
        return None
    deviation = stdev(values)
    mean = math.fsum(values) / len(values)
    return Spread(len(values), mean, deviation, deviation / math.sqrt(len(values)))
