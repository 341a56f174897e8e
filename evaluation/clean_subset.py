"""Scores over the questions that were not found in the training data, beside those over all.

From stored per-example results, without a model. The leak need not be the cause of a difference:
questions that are easy to find on the web may be easy. Hence the interval, by the bootstrap of
statistics.py over questions, which also resamples how many of them are clean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.answers import Answers, Stratum, TaskAnswers, strata_of
from evaluation.statistics import LEVEL, RESAMPLES, SEED, Figure, figures_of
from evaluation.suite import Suite

FEWEST = 50  # clean questions of a task; with fewer, a difference is chance
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CleanScore:
    """`clean` and the fields after it are None where too few questions are left.

    `n` questions of which `n_clean` are clean; `interval` is the 95 % interval of
    `difference` = full - clean.
    """

    full: float
    n: int
    n_clean: int
    clean: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form that documents use."""
        interval = None if self.interval is None else list(self.interval)
        return {
            "full": self.full,
            "clean": self.clean,
            "difference": self.difference,
            "interval": interval,
            "n": self.n,
            "n_clean": self.n_clean,
        }


def clean_scores(
    suite: Suite,
    answers: Answers,
    leaked: Mapping[str, Collection[int]],
    metric_version: str,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, CleanScore]]:
    """`tasks`: the accuracy of each task of which questions leaked; `means`: CORE and the others.

    `leaked` has the rows of the task files by label. A mean over tasks is withheld when one of its
    tasks is.
    """
    masks = {label: _mask(task, leaked.get(label, ())) for label, task in answers.items()}
    strata = strata_of(suite, [answers, masks])
    lost = [label for label, mask in masks.items() if not mask.correct.all()]
    withheld = {label for label in lost if not _enough(masks[label])}
    single = [Figure(label, {label: 1.0}) for label in lost]
    means = figures_of(suite, metric_version, list(answers))
    values = _Resampled(strata, resamples)
    return {
        "tasks": {one.name: values.score(one, masks, withheld) for one in single},
        "means": {
            one.name: values.score(one, masks, withheld)
            for one in means
            if any(label in lost for label in one.weights)
        },
    }


def _mask(task: TaskAnswers, leaked: Collection[int]) -> TaskAnswers:
    """The same questions, with True for those that are clean."""
    rows = np.fromiter(leaked, dtype=np.int64, count=len(leaked))
    return replace(task, correct=~np.isin(task.index, rows))


def _enough(mask: TaskAnswers) -> bool:
    return mask.correct.sum() >= FEWEST and all(part.any() for part in mask.by_category())


class _Resampled:
    """Accuracies by label, over all questions and over clean ones: as they are, and resampled."""

    def __init__(self, strata: Sequence[Stratum], resamples: int) -> None:
        generator = np.random.default_rng(SEED)
        self.points: dict[str, Floats] = {}  # [2]: full, clean
        self.drawn: dict[str, Floats] = {}  # [2, resamples]
        for stratum in strata:
            # Of a question all that counts is, for each label, whether it was right and is clean.
            kinds, counts = _kinds(stratum)
            size = int(counts.sum())
            draws = generator.multinomial(size, counts / size, size=resamples)
            for number, label in enumerate(stratum.labels):
                four = np.eye(4, dtype=np.int64)[kinds[:, number]]  # [patterns, 4]
                share = 1 / stratum.categories
                self._add(self.points, label, share * _two_scores(counts[None] @ four)[:, 0])
                self._add(self.drawn, label, share * _two_scores(draws @ four))

    @staticmethod
    def _add(sums: dict[str, Floats], label: str, part: Floats) -> None:
        sums[label] = sums[label] + part if label in sums else part

    def score(
        self, figure: Figure, masks: Mapping[str, TaskAnswers], withheld: Collection[str]
    ) -> CleanScore:
        """The figure over all questions and over clean ones."""
        labels = figure.weights
        full, clean = self._weighted(self.points, figure) - figure.offset
        n = sum(len(masks[label].correct) for label in labels)
        n_clean = sum(int(masks[label].correct.sum()) for label in labels)
        if any(label in withheld for label in labels):
            return CleanScore(float(full), n, n_clean)
        drawn = self._weighted(self.drawn, figure)
        tail = (1 - LEVEL) / 2
        low, high = np.nanquantile(drawn[0] - drawn[1], [tail, 1 - tail])
        return CleanScore(
            float(full), n, n_clean, float(clean), float(full - clean), (float(low), float(high))
        )

    @staticmethod
    def _weighted(values: Mapping[str, Floats], figure: Figure) -> Floats:
        result: Floats = np.sum([w * values[label] for label, w in figure.weights.items()], axis=0)
        return result


def _kinds(stratum: Stratum) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Patterns of kinds (as `_two_scores` counts them) [patterns, labels], and how often."""
    correct, clean = stratum.correct.astype(np.int64)  # each [labels, questions]
    kinds, counts = np.unique(2 * clean + correct, axis=1, return_counts=True)
    return kinds.T, counts


def _two_scores(kinds: NDArray[np.int64]) -> Floats:
    """Of counts [.., 4] (leaked and wrong, leaked and right, clean and wrong, clean and right)."""
    full = (kinds[:, 1] + kinds[:, 3]) / kinds.sum(axis=1)
    with np.errstate(invalid="ignore"):
        clean = kinds[:, 3] / (kinds[:, 2] + kinds[:, 3])
    result: Floats = np.stack([full, clean])
    return result
