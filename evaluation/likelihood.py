"""Smooth scores: the probabilities of the right answers, not only whether they won.

Accuracy changes only when the best option changes; the probability of the right one changes with
every step. Per question, option k has S_k, its summed log-probability in nats, T_k tokens and B_k
bytes of text, and g is the right one:

* p_raw, p_token, p_byte: the softmax over the options of S, S / T, S / B, at g;
* bits per byte: −S_g / (B_g ln 2);
* margin: S_g / T_g less the best other S_k / T_k, in nats a token;
* q, of language modelling and of written answers: exp(S / T), the geometric mean probability of
  a token.

Sources: DataDecide (arXiv 2504.11393) compares such proxies for choosing data; bits per byte as in
the Pile (arXiv 2101.00027). The averages follow the accuracies': over questions, then categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metrics import aggregates
from evaluation.option_bytes import option_bytes
from evaluation.options import Floats, Ints, TaskOptions, read_options
from evaluation.statistics import Estimate, Z
from evaluation.suite import Suite, Task
from submissions.failures import Failure


@dataclass(frozen=True, eq=False)
class Measures:
    """Per question [n]; None where a measure has no meaning, or bytes are not known."""

    options: TaskOptions
    uniform: Floats  # 1 / number of options
    p_raw: Floats | None
    p_token: Floats | None
    p_byte: Floats | None
    margin: Floats | None
    q: Floats | None
    bits_per_byte: Floats | None
    letters: bool  # every option is one byte long: bits per byte would measure a letter


@dataclass(frozen=True)
class TaskLikelihood:
    """The means of a task. `soft` is 0 where every option is as probable as any other, at most 1;
    where there are no options to choose from it is q."""

    soft: float | None
    p_raw: float | None
    p_token: float | None
    p_byte: float | None
    margin: float | None
    q: float | None
    bits_per_byte: float | None
    letters: bool


@dataclass(frozen=True)
class Likelihoods:
    """The means over tasks, and each task's.

    `soft` are by the names of the suite's means (core, extended, …), None where a task of one is
    missing; `bits_per_byte` likewise, over the tasks whose options are more than a letter.
    """

    soft: Mapping[str, Estimate | None]
    bits_per_byte: Mapping[str, Estimate | None]
    missing_tasks: tuple[str, ...]
    tasks: Mapping[str, TaskLikelihood] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The form that the score document uses."""
        found: dict[str, Any] = {}
        for prefix, values in (("soft", self.soft), ("bits_per_byte", self.bits_per_byte)):
            for name, value in values.items():
                found[f"{prefix}_{name}"] = None if value is None else value.as_dict()
        tasks = {label: asdict(task) for label, task in self.tasks.items()}
        return found | {"missing_tasks": list(self.missing_tasks), "tasks": tasks}


def likelihoods_of(
    suite: Suite, records: Path, data: Path | None = None, whole: bool = True
) -> Likelihoods:
    """All measures of a run's records, `examples.jsonl` or `records.parquet`.

    Bytes come from the task files, in `data` or bundled; without them what needs bytes is None.
    Tasks of written answers are missing where their right answers were not scored. Of a run that
    was asked a sample (not `whole`) there are no means over tasks. Raises `results_invalid`, and
    `task_file_missing` where `data` lacks a file.
    """
    options = read_options(records)
    found = {
        task.label: measures(task, options[task.label], _bytes(suite, task, data))
        for task in suite.tasks
        if task.label in options
    }
    asked = {name: tasks if whole else [] for name, tasks in aggregates(suite).items()}
    return Likelihoods(
        soft={name: soft_mean(tasks, found) for name, tasks in asked.items()},
        bits_per_byte={name: _bits(tasks, found) for name, tasks in asked.items()},
        missing_tasks=tuple(task.label for task in suite.tasks if task.label not in found),
        tasks={label: _means(task) for label, task in found.items()},
    )


def likelihood_document(
    suite: Suite, records: Path, data: Path | None = None, whole: bool = True
) -> dict[str, Any]:
    """`likelihoods_of` as a score document carries it, with the key `problem`.

    A score needs only right or wrong. Records that hold that, but no usable log-probabilities, keep
    their score; the document then names the problem and holds no likelihoods.
    """
    try:
        return {"problem": None} | likelihoods_of(suite, records, data, whole).as_dict()
    except Failure as failure:
        if failure.code != "results_invalid":
            raise
        empty = dict.fromkeys(aggregates(suite))
        labels = tuple(task.label for task in suite.tasks)
        return {"problem": failure.message} | Likelihoods(empty, empty, labels).as_dict()


def measures(task: Task, options: TaskOptions, lengths: list[list[int]] | None) -> Measures:
    """Every measure of each question; `lengths` are the bytes of each row's options."""
    sized = None if lengths is None else _aligned(task, options, lengths)
    per_token = options.logprobs / options.tokens
    right = options.right
    bits = None if sized is None else -options.logprobs[right] / (sized[right] * np.log(2))
    letters = sized is not None and task.type == "multiple_choice" and bool((sized == 1).all())
    counts = options.counts
    if task.type not in ("multiple_choice", "schema"):
        q = np.exp(np.minimum(per_token[right], 0.0))
        return Measures(options, np.zeros(len(q)), None, None, None, None, q, bits, letters)
    start = options.start
    p_byte = None if sized is None else _softmax_at(options.logprobs / sized, start, right)
    return Measures(
        options,
        1 / counts,
        _softmax_at(options.logprobs, start, right),
        _softmax_at(per_token, start, right),
        p_byte,
        _margin(per_token, start, right) if (counts > 1).all() else None,
        None,
        bits,
        letters,
    )


def _softmax_at(values: Floats, start: Ints, right: Ints) -> Floats:
    """exp(v_g) over the sum of exp(v_k), question by question, without overflow."""
    counts = np.diff(start)
    best = np.maximum.reduceat(values, start[:-1])
    weights = np.exp(values - np.repeat(best, counts))
    found: Floats = weights[right] / np.add.reduceat(weights, start[:-1])
    return found


def _margin(values: Floats, start: Ints, right: Ints) -> Floats:
    others = values.copy()
    others[right] = -np.inf
    found: Floats = values[right] - np.maximum.reduceat(others, start[:-1])
    return found


def _aligned(task: Task, options: TaskOptions, lengths: list[list[int]]) -> Ints:
    """The bytes of every option, in the order of the records."""
    rows = [lengths[i] if 0 <= i < len(lengths) else [] for i in options.index.tolist()]
    if [len(row) for row in rows] != options.counts.tolist():
        raise Failure(
            "results_invalid", f"the records of {task.label} have other options than its file"
        )
    found = np.array([size for row in rows for size in row], dtype=np.int64)
    if (found < 1).any():
        raise Failure("task_file_invalid", f"{task.label}: an option of its file is empty")
    return found


def _bytes(suite: Suite, task: Task, data: Path | None) -> list[list[int]] | None:
    return None if data is None and suite.bundled is None else option_bytes(suite, task, data)


def _means(found: Measures) -> TaskLikelihood:
    def mean(values: Floats | None) -> float | None:
        return None if values is None else _mean(found.options, values)

    return TaskLikelihood(
        _soft_value(found), mean(found.p_raw), mean(found.p_token), mean(found.p_byte),
        mean(found.margin), mean(found.q), mean(found.bits_per_byte), found.letters,
    )  # fmt: skip


def _soft_value(found: Measures) -> float | None:
    """(mean p_token − mean 1/K) / (1 − mean 1/K), or q; None where there is nothing to choose."""
    if found.q is not None:
        return _mean(found.options, found.q)
    assert found.p_token is not None
    chance = _mean(found.options, found.uniform)
    return None if chance >= 1 else (_mean(found.options, found.p_token) - chance) / (1 - chance)


def _soft_parts(found: Measures) -> Floats:
    """How the soft score moves with each question: with its p_token, and with its 1/K."""
    if found.q is not None:
        return found.q
    assert found.p_token is not None
    chance, p = _mean(found.options, found.uniform), _mean(found.options, found.p_token)
    return found.p_token / (1 - chance) - found.uniform * (1 - p) / (1 - chance) ** 2


def soft_mean(tasks: Sequence[Task], found: Mapping[str, Measures]) -> Estimate | None:
    """The mean of the tasks' soft scores; None where one has none, or for no tasks."""
    if not tasks or any(task.label not in found for task in tasks):
        return None
    values = [_soft_value(found[task.label]) for task in tasks]
    if any(value is None for value in values):
        return None
    value = float(np.mean([value for value in values if value is not None]))
    parts = [(task, found[task.label].options, _soft_parts(found[task.label])) for task in tasks]
    return _estimate(value, parts)


def _bits(tasks: Sequence[Task], found: Mapping[str, Measures]) -> Estimate | None:
    if not tasks or any(task.label not in found for task in tasks):
        return None
    parts = []
    for task in tasks:
        bits = found[task.label].bits_per_byte
        if bits is None:
            return None
        if not found[task.label].letters:
            parts.append((task, found[task.label].options, bits))
    if not parts:
        return None
    return _estimate(float(np.mean([_mean(options, bits) for _, options, bits in parts])), parts)


def _estimate(value: float, parts: Sequence[tuple[Task, TaskOptions, Floats]]) -> Estimate:
    """The mean over tasks with its error from the choice of questions.

    Tasks on the same file asked the same questions: their parts are added question by question
    before they vary.
    """
    groups: list[tuple[str, TaskOptions, Floats]] = []
    for task, options, values in parts:
        for place, (file, others, total) in enumerate(groups):
            same = file == task.file and others.categories == options.categories
            if same and np.array_equal(others.index, options.index):
                groups[place] = (file, others, total + values)
                break
        else:
            groups.append((task.file, options, values))
    variance = 0.0
    for _, options, values in groups:
        found = _variance(options, values)
        if found is None:
            return Estimate(value, None, None)
        variance += found
    error = float(np.sqrt(variance)) / len(parts)
    return Estimate(value, error, (value - Z * error, value + Z * error))


def _mean(options: TaskOptions, values: Floats) -> float:
    """Plain mean over the categories' means."""
    return float(np.mean([part.mean() for part in _by_category(options, values)]))


def _variance(options: TaskOptions, values: Floats) -> float | None:
    """Of that mean; None where a category holds a single question."""
    parts = _by_category(options, values)
    if any(len(part) < 2 for part in parts):
        return None
    return float(sum(part.var(ddof=1) / len(part) for part in parts)) / len(parts) ** 2


def _by_category(options: TaskOptions, values: Floats) -> list[Floats]:
    edges = np.searchsorted(options.category, np.arange(len(options.categories) + 1))
    return [values[low:high] for low, high in pairwise(edges)]
