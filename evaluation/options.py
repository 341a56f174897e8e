"""The options of a run's questions: what log-probability a model gave each, over how many tokens.

Columns in place of objects: a full run has some 700 thousand options. Read from the records of
evaluation/records.py, where everything is a file of others: what cannot be a log-probability, a
length or an option's number is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.records import numbered, read_jsonl, read_table, whole_numbers
from submissions.failures import Failure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
COLUMNS = ["task", "index", "category", "gold", "option_logprobs", "option_tokens"]
ROUNDING = 1e-3  # by which a sum of log-probabilities may exceed 0


@dataclass(frozen=True, eq=False)
class TaskOptions:
    """One task's n questions, ordered by category and row of the file.

    `index`, `gold` [n]; `category` [n] numbers `categories`; the options of question i are
    `start[i]` to `start[i + 1]` of `logprobs` (summed, nats) and `tokens`.
    """

    index: Ints
    category: Ints
    categories: tuple[str, ...]
    gold: Ints
    start: Ints
    logprobs: Floats
    tokens: Ints

    @property
    def counts(self) -> Ints:
        """Options of each question."""
        return np.diff(self.start)

    @property
    def right(self) -> Ints:
        """The place of each question's right option among all options."""
        return self.start[:-1] + self.gold


@dataclass(frozen=True, eq=False)
class _Columns:
    """All questions of a file, those without options left out."""

    tasks: tuple[str, ...]
    categories: tuple[str, ...]
    task: Ints
    index: Ints
    category: Ints
    gold: Ints
    counts: Ints
    logprobs: Floats
    tokens: Ints


def read_options(path: Path) -> dict[str, TaskOptions]:
    """Each task's options, by label; written answers without a scored one are left out.

    Raises `results_invalid` for what no model can have answered.
    """
    columns = _of_jsonl(path) if path.suffix == ".jsonl" else _of_parquet(path)
    return dict(_by_task(columns, path.name))


def _of_jsonl(path: Path) -> _Columns:
    examples = [e for e in read_jsonl(path) if e.option_logprobs is not None]
    tasks = {label: number for number, label in enumerate(dict.fromkeys(e.task for e in examples))}
    names = dict.fromkeys(e.category for e in examples if e.category is not None)
    number: dict[str | None, int] = {name: place for place, name in enumerate(names)}
    number[None] = -1
    tokens = [e.option_tokens or [] for e in examples]
    sums = [e.option_logprobs or [] for e in examples]
    if [len(s) for s in sums] != [len(t) for t in tokens]:
        raise _invalid(path.name, "log-probabilities without their numbers of tokens")
    try:
        return _Columns(
            tuple(tasks),
            tuple(names),
            np.array([tasks[e.task] for e in examples], dtype=np.int64),
            np.array([e.index for e in examples], dtype=np.int64),
            np.array([number[e.category] for e in examples], dtype=np.int64),
            np.array([-1 if e.gold is None else e.gold for e in examples], dtype=np.int64),
            np.array([len(s) for s in sums], dtype=np.int64),
            np.array([value for s in sums for value in s], dtype=np.float64),
            np.array([value for t in tokens for value in t], dtype=np.int64),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise _invalid(path.name, "values that are not numbers") from error


def _of_parquet(path: Path) -> _Columns:
    try:
        table = read_table(path, COLUMNS)
        tasks, task = numbered(table.column("task"))
        categories, category = numbered(table.column("category"))
        index, _ = whole_numbers(table.column("index").combine_chunks())
        gold, known = whole_numbers(table.column("gold").combine_chunks())
        counts, logprobs = _lists(table.column("option_logprobs").combine_chunks())
        same, tokens = _lists(table.column("option_tokens").combine_chunks())
    except (KeyError, TypeError, AttributeError) as error:
        raise _invalid(path.name, "other columns than those of a run") from error
    if not np.array_equal(counts, same):
        raise _invalid(path.name, "log-probabilities without their numbers of tokens")
    some = counts > 0
    return _Columns(
        tasks,
        categories,
        task[some],
        index[some],
        category[some],
        np.where(known, gold, -1)[some],
        counts[some],
        logprobs,
        tokens.astype(np.int64),
    )


def _lists(array: Any) -> tuple[Ints, Floats]:
    """Lengths of the rows' lists (0 for none) and all values; a null among them is not a number."""
    offsets, _ = whole_numbers(array.offsets)
    inside = array.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    lengths = np.diff(offsets)
    if array.null_count:
        valid = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")
        lengths = lengths * valid[array.offset : array.offset + len(array)]
    kind = {"float": np.float32, "double": np.float64, "int32": np.int32}[str(inside.type)]
    data = np.frombuffer(inside.buffers()[1], dtype=kind)
    values = data[inside.offset : inside.offset + len(inside)].astype(np.float64)
    if inside.null_count or lengths.sum() != len(values):
        values = np.full(int(lengths.sum()), np.nan)
    return lengths, values


def _by_task(columns: _Columns, name: str) -> Iterator[tuple[str, TaskOptions]]:
    starts = np.concatenate([[0], np.cumsum(columns.counts)])
    for number, label in enumerate(columns.tasks):
        rows = np.flatnonzero(columns.task == number)
        if not len(rows):
            continue
        names = ["" if c < 0 else columns.categories[c] for c in columns.category[rows]]
        known = tuple(sorted(set(names)))
        place = {category: code for code, category in enumerate(known)}
        codes = np.array([place[category] for category in names], dtype=np.int64)
        order = np.lexsort((columns.index[rows], codes))
        rows, codes = rows[order], codes[order]
        counts, gold = columns.counts[rows], columns.gold[rows]
        start = np.concatenate([[0], np.cumsum(counts)])
        chosen = np.repeat(starts[rows] - start[:-1], counts) + np.arange(start[-1])
        task = TaskOptions(
            columns.index[rows],
            codes,
            known,
            np.where((gold < 0) & (counts == 1), 0, gold),  # the only option is the right one
            start,
            columns.logprobs[chosen],
            columns.tokens[chosen],
        )
        _check(task, label, name)
        yield label, task


def _check(task: TaskOptions, label: str, name: str) -> None:
    for wrong, what in (
        (~np.isfinite(task.logprobs), "a log-probability that is no number"),
        (task.logprobs > ROUNDING, "a log-probability above zero"),
        (task.tokens < 1, "an option without tokens"),
        ((task.gold < 0) | (task.gold >= task.counts), "a right option that is not there"),
        (np.diff(np.sort(task.index)) == 0, "a question twice"),
    ):
        if wrong.any():
            raise _invalid(name, f"{what} ({label})")


def _invalid(name: str, what: str) -> Failure:
    return Failure("results_invalid", f"{name} holds {what}")
