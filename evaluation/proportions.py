"""Single tasks: an accuracy's interval, whether it beats guessing, whether two models differ.

Exact or near-exact at any number of questions, because half of the suite's tasks have few, and
small models are right in none or in all of some.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.answers import Answers, TaskAnswers
from evaluation.metrics import TaskResult, accuracy_with_error
from evaluation.statistics import Z, p_of
from evaluation.suite import Task
from evaluation.ties import ERROR_RATE, holm


@dataclass(frozen=True)
class TaskDifference:
    """Two models on one task: accuracies, how often one alone was right, and the test."""

    one: float
    other: float
    only_one: int
    only_other: int
    stderr: float | None
    p: float | None

    @property
    def value(self) -> float:
        """The first's accuracy less the second's."""
        return self.one - self.other


@dataclass(frozen=True)
class TaskStatistics:
    """The 95 % interval of a task's accuracy, and the p-value that guessing is as good."""

    interval: tuple[float, float] | None
    chance_p: float | None


def task_statistics(task: Task, answers: TaskAnswers, metric_version: str) -> TaskStatistics:
    """How sure one task's accuracy is.

    Without categories: Wilson's interval and the exact binomial test against the baseline, one
    sided. With categories, whose plain mean is the score: both from its standard error.
    """
    baseline = task.baselines[metric_version] / 100
    result = result_of(answers)
    if len(answers.categories) == 1:
        right, count = int(answers.correct.sum()), len(answers.correct)
        return TaskStatistics(wilson(right, count), binomial_tail(right, count, baseline))
    if result.stderr is None:
        return TaskStatistics(None, None)
    low, high = result.score - Z * result.stderr, result.score + Z * result.stderr
    p = p_of(result.score - baseline, result.stderr)
    assert p is not None
    above = p / 2 if result.score > baseline else 1 - p / 2
    return TaskStatistics((max(low, 0.0), min(high, 1.0)), above)


def result_of(answers: TaskAnswers) -> TaskResult:
    """Score, number of examples and standard error of a task."""
    parts = [part.tolist() for part in answers.by_category()]
    return accuracy_with_error(dict(zip(answers.categories, parts, strict=True)))


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Journal of the American Statistical Association 22,
    1927): it holds its level where the normal interval does not, near 0 and 1 and for few."""
    share, z2 = right / count, Z * Z / count
    middle = (share + z2 / 2) / (1 + z2)
    half = Z / (1 + z2) * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def binomial_tail(right: int, count: int, share: float) -> float:
    """The chance of at least `right` successes in `count` trials of chance `share`."""
    if right <= 0:
        return 1.0
    if share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    numbers = np.arange(right, count + 1, dtype=np.float64)
    logs = _log_choose(count, numbers)
    logs += numbers * math.log(share) + (count - numbers) * math.log1p(-share)
    return float(min(np.exp(logs).sum(), 1.0))


def _log_choose(count: int, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    chosen = numbers.astype(np.int64)
    logs: NDArray[np.float64] = factorials[count] - factorials[chosen] - factorials[count - chosen]
    return logs


def task_differences(one: Answers, other: Answers) -> dict[str, TaskDifference]:
    """Each task that both answered; they must have answered the same questions of it.

    The p-value is McNemar's exact test (Psychometrika 12, 1947) without categories, and comes from
    the paired standard error with them.
    """
    return {
        label: _difference(answers, other[label])
        for label, answers in one.items()
        if label in other
    }


def _difference(one: TaskAnswers, other: TaskAnswers) -> TaskDifference:
    only_one = int((one.correct & ~other.correct).sum())
    only_other = int((~one.correct & other.correct).sum())
    variances = []
    for number in range(len(one.categories)):
        rows = one.category == number
        away = one.correct[rows].astype(np.float64) - other.correct[rows]
        variances.append(away.var(ddof=1) / len(away) if len(away) > 1 else math.nan)
    error = math.sqrt(math.fsum(variances)) / len(variances)
    stderr = None if math.isnan(error) else error
    scores = result_of(one).score, result_of(other).score
    if len(one.categories) == 1:
        p: float | None = mcnemar(only_one, only_other)
    else:
        p = p_of(scores[0] - scores[1], stderr)
    return TaskDifference(*scores, only_one, only_other, stderr, p)


def mcnemar(only_one: int, only_other: int) -> float:
    """Two-sided exact p-value that either model is as likely to be the only one that is right."""
    return min(1.0, 2 * binomial_tail(max(only_one, only_other), only_one + only_other, 0.5))


def holds(p_values: Mapping[str, float | None]) -> set[str]:
    """The tasks whose difference stays significant among so many (Holm, 5 per cent)."""
    known = {label: p for label, p in p_values.items() if p is not None}
    kept = holm(list(known.values()), ERROR_RATE)
    return {label for label, rejected in zip(known, kept, strict=True) if rejected}
