"""What models answered, arranged for statistics: strata of questions that were drawn together.

A stratum is a task file, or one category of it. Tasks on the same file (hellaswag and
hellaswag_zeroshot, the two of MMLU) ask the same questions, so they share strata: an outcome in
one depends on the outcome in the other, and their errors may not be added as if they were
independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.records import Outcomes, read_outcomes
from evaluation.suite import Suite
from submissions.failures import Failure

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """One model's outcomes on one task, ordered by category and row of the file.

    `index` int64 [n]; `category` int64 [n], a number into `categories` (one empty name for a task
    without categories); `correct` bool [n].
    """

    index: NDArray[np.int64]
    category: NDArray[np.int64]
    categories: tuple[str, ...]
    correct: Bools

    def same_questions(self, other: TaskAnswers) -> bool:
        """Whether both answered the same rows, in the same categories."""
        return (
            self.categories == other.categories
            and (self.index is other.index or np.array_equal(self.index, other.index))
            and (self.category is other.category or np.array_equal(self.category, other.category))
        )

    def by_category(self) -> list[Bools]:
        """The outcomes of each category, in the order of `categories`."""
        return [self.correct[self.category == number] for number in range(len(self.categories))]


Answers = Mapping[str, TaskAnswers]  # by label


@dataclass(frozen=True, eq=False)
class Stratum:
    """`correct` is bool [models, labels, questions]; a label's score is the plain mean over its
    `categories` many strata."""

    labels: tuple[str, ...]
    categories: int
    correct: Bools


def read_answers(path: Path) -> dict[str, TaskAnswers]:
    """The outcomes of a file of records (parquet or jsonl), by label."""
    return answers_of(read_outcomes(path), path.name)


def answers_of(outcomes: Outcomes, source: str = "the records") -> dict[str, TaskAnswers]:
    """Arranges records by task; `results_invalid` where a question occurs twice."""
    order = np.lexsort((outcomes.index, outcomes.category, outcomes.task))
    edges = np.searchsorted(outcomes.task[order], np.arange(len(outcomes.tasks) + 1))
    found = {}
    for number, label in enumerate(outcomes.tasks):
        rows = order[edges[number] : edges[number + 1]]
        task = _sorted_by_name(
            outcomes.index[rows],
            outcomes.category[rows],
            outcomes.categories,
            outcomes.correct[rows],
        )
        if len(np.unique(task.index)) < len(task.index):
            raise Failure("results_invalid", f"{source} holds a question of {label} twice")
        found[label] = task
    return found


def _sorted_by_name(
    index: NDArray[np.int64], category: NDArray[np.int64], names: tuple[str, ...], correct: Bools
) -> TaskAnswers:
    """Categories numbered anew by their names, so two models' numbers agree."""
    used = np.unique(category)
    called = [names[number] if number >= 0 else "" for number in used]
    by_name = sorted(range(len(used)), key=called.__getitem__)
    place = np.empty(len(used), dtype=np.int64)
    place[by_name] = np.arange(len(used))
    codes = place[np.searchsorted(used, category)]
    order = np.lexsort((index, codes))
    known = tuple(called[number] for number in by_name)
    return TaskAnswers(index[order], codes[order], known, correct[order])


def strata_of(suite: Suite, models: Sequence[Answers]) -> list[Stratum]:
    """The strata of the tasks that all `models` answered, in the suite's order.

    Raises `results_invalid` where two models did not answer the same questions of a task.
    """
    files = {task.label: task.file for task in suite.tasks}
    asked = [label for label in files if all(label in answers for answers in models)]
    groups: list[list[str]] = []
    for label in asked:
        for answers in models[1:]:
            if not answers[label].same_questions(models[0][label]):
                raise Failure(
                    "results_invalid", f"the runs did not answer the same questions of {label}"
                )
        for group in groups:
            same = models[0][group[0]].same_questions(models[0][label])
            if files[group[0]] == files[label] and same:
                group.append(label)
                break
        else:
            groups.append([label])
    return [stratum for group in groups for stratum in _split(tuple(group), models)]


def _split(labels: tuple[str, ...], models: Sequence[Answers]) -> list[Stratum]:
    task = models[0][labels[0]]
    correct = np.stack([[answers[label].correct for label in labels] for answers in models])
    # Questions are ordered by category, so a category is a slice.
    edges = np.searchsorted(task.category, np.arange(len(task.categories) + 1))
    return [
        Stratum(labels, len(task.categories), correct[:, :, start:end])
        for start, end in pairwise(edges)
    ]
