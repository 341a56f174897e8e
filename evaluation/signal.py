"""Which tasks tell datasets apart: their spread over datasets beside their noise, and their orders.

A task is useful at a scale if datasets differ on it by more than the error from its questions, and
if it orders them as a larger scale does. Both are counted from finished runs. Source
of the two notions: Signal and Noise (arXiv 2508.13144); noise here is the questions' standard
error, since most datasets were trained once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

from evaluation.metrics import AGGREGATES, TaskResult, aggregates, centred
from evaluation.suite import Suite, Task
from submissions.failures import Failure

LEAST = 3  # datasets, below which there is no spread to speak of
DRAWS, SEED = 2_000, 20_240_617

Results = Mapping[str, TaskResult]  # by label


@dataclass(frozen=True)
class TaskSignal:
    """One task over n datasets.

    `signal` is the standard deviation between datasets of its accuracy at the source, `noise` the
    root mean square of its standard errors there (None where the number of questions is unknown),
    `ratio` the one over the other. `own_order` is the share of pairs of datasets that the task
    orders as it does itself at the target, `mean_order` as the suite's mean does there, with 90 %
    intervals over datasets; None without a target. Ties count a half.
    """

    label: str
    category: str
    core: bool
    mean: float
    signal: float
    noise: float | None
    ratio: float | None
    own_order: float | None
    own_order_90: tuple[float, float] | None
    mean_order: float | None
    mean_order_90: tuple[float, float] | None


def rank_tasks(
    suite: Suite,
    sources: Sequence[Results],
    targets: Sequence[Results] | None,
    metric_version: str,
    everything: Sequence[Results] = (),
) -> list[TaskSignal]:
    """The tasks that all results hold, the best first.

    `sources[i]` and `targets[i]` are of the same dataset. They come by their order of the target's
    mean where there is a target, else by their ratio. `everything` are further results at the
    source, of datasets that have no target: they count for signal and noise alone, of the tasks
    that they hold. Raises `too_few_pairs` for fewer than three datasets.
    """
    if len(sources) < LEAST:
        raise Failure(
            "too_few_pairs", f"{len(sources)} results, {LEAST} needed: one of each dataset"
        )
    tasks = [
        task
        for task in suite.tasks
        if all(task.label in results for results in (*sources, *(targets or ())))
    ]
    if not tasks:
        raise Failure("results_invalid", "no task is in all of these results")
    means = None if targets is None else _means(suite, targets, metric_version)
    draws = _draws(len(sources))
    found = [_signal(task, sources, everything, targets, means, draws) for task in tasks]
    return sorted(found, key=_worth, reverse=True)


def headline_name(suite: Suite) -> str:
    """The mean that orders datasets at the target: core, smoke or mean."""
    names = aggregates(suite)
    return next(name for name in AGGREGATES if name in names)


def order_share(source: Sequence[float], target: Sequence[float]) -> float:
    """The share of pairs that both order alike; a tie at either counts a half."""
    return fmean(_alike(source, target, i, j) for i, j in combinations(range(len(source)), 2))


def _signal(
    task: Task,
    sources: Sequence[Results],
    everything: Sequence[Results],
    targets: Sequence[Results] | None,
    means: list[float] | None,
    draws: list[list[int]],
) -> TaskSignal:
    known = [results[task.label] for results in (*sources, *everything) if task.label in results]
    noise, signal = _noise(task, known), stdev(result.score for result in known)
    here = [results[task.label].score for results in sources]
    there = None if targets is None else [results[task.label].score for results in targets]
    return TaskSignal(
        task.label,
        task.category,
        task.core,
        fmean(result.score for result in known),
        signal,
        noise,
        signal / noise if noise else None,
        None if there is None else order_share(here, there),
        None if there is None else _interval(here, there, draws),
        None if means is None else order_share(here, means),
        None if means is None else _interval(here, means, draws),
    )


def _noise(task: Task, results: Sequence[TaskResult]) -> float | None:
    """DCLM's files hold bare accuracies: then the suite's number of rows is that of questions."""
    squares = []
    for result in results:
        error = result.stderr
        count = result.n or task.rows
        if error is None and count is not None and count > 1:
            error = math.sqrt(result.score * (1 - result.score) / (count - 1))
        if error is None:
            return None
        squares.append(error * error)
    return math.sqrt(fmean(squares))


def _means(suite: Suite, targets: Sequence[Results], metric_version: str) -> list[float] | None:
    """The suite's mean of each target; None where a task of it is missing."""
    tasks = aggregates(suite)[headline_name(suite)]
    if not all(task.label in results for task in tasks for results in targets):
        return None
    return [
        fmean(centred(task, results[task.label].score, metric_version) for task in tasks)
        for results in targets
    ]


def _worth(found: TaskSignal) -> tuple[float, float]:
    ratio = found.ratio or 0.0
    return (ratio, 0.0) if found.mean_order is None else (found.mean_order, ratio)


def _alike(source: Sequence[float], target: Sequence[float], i: int, j: int) -> float:
    product = (source[i] - source[j]) * (target[i] - target[j])
    return 0.5 if product == 0 else float(product > 0)


def _draws(count: int) -> list[list[int]]:
    """How often each dataset occurs in each of the resamples that hold two or more."""
    import numpy as np

    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    kept: list[list[int]] = drawn[(drawn > 0).sum(axis=1) > 1].tolist()
    return kept


def _interval(
    source: Sequence[float], target: Sequence[float], draws: list[list[int]]
) -> tuple[float, float]:
    import numpy as np

    count = len(source)
    alike = np.zeros((count, count))
    for i, j in combinations(range(count), 2):
        alike[i, j] = _alike(source, target, i, j)
    weights = np.array(draws, dtype=np.float64)
    pairs = (weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)) / 2
    shares = np.einsum("di,ij,dj->d", weights, alike, weights) / pairs
    low, high = np.quantile(shares, [0.05, 0.95])
    return float(low), float(high)
