"""The files of a run for each task, and how a later run finds them again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from evaluation.examples import Example, result_of, write_examples
from evaluation.suite import Task
from submissions.codec import MisfitError, decode_or_misfit
from submissions.files import placed_atomically, written_atomically
from submissions.job import write_json_atomically

EXAMPLES, FINISHED = "examples.jsonl", "tasks"
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class CategoryFigures(msgspec.Struct, frozen=True):
    """One category of a task: the accuracy, and of how many examples."""

    score: float
    n: int | None


class TaskFigures(msgspec.Struct, frozen=True):
    """A task's entry in results.json, of which a score needs the first alone.

    `score` is the accuracy, with several categories the plain mean of theirs; `stderr` is its
    standard error.
    """

    score: Share
    n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    stderr: Annotated[float, msgspec.Meta(ge=0)] | None = None
    seconds: float = 0.0
    categories: dict[str, CategoryFigures] | UnsetType = UNSET


class Note(msgspec.Struct, frozen=True):
    """The note beside a finished task's records: the work that they belong to, and its figures."""

    work: str
    result: TaskFigures


def task_figures(examples: list[Example], seconds: float) -> TaskFigures:
    """A task's entry in results.json."""
    overall = result_of(examples)
    names = sorted({example.category for example in examples if example.category is not None})
    by_name = {name: result_of(e for e in examples if e.category == name) for name in names}
    return TaskFigures(
        overall.score,
        overall.n,
        overall.stderr,
        round(seconds, 3),
        {n: CategoryFigures(part.score, part.n) for n, part in by_name.items()} or UNSET,
    )


def finished_figures(output: Path, task: Task, work: str) -> TaskFigures | None:
    """What an earlier run in this folder found, when it did the very same work."""
    try:
        data = (output / FINISHED / f"{task.label}.json").read_bytes()
        note = decode_or_misfit(Note, data)
    except (OSError, MisfitError):
        return None
    same = note.work == work
    return note.result if same and (output / FINISHED / f"{task.label}.jsonl").is_file() else None


def keep_task(
    output: Path, task: Task, work: str, examples: list[Example], result: TaskFigures
) -> None:
    """Records first, then the note that they are whole: a kill in between costs one task."""
    records = output / FINISHED / f"{task.label}.jsonl"
    with placed_atomically(records, durable=False, one_writer=True) as partial:
        write_examples(partial, examples)
    write_json_atomically(output / FINISHED / f"{task.label}.json", Note(work, result))


def join_examples(output: Path, labels: Iterable[str]) -> None:
    """Writes examples.jsonl from the tasks' own files, in this order."""
    with written_atomically(output / EXAMPLES, "wb", durable=False, one_writer=True) as joined:
        for label in labels:
            with (output / FINISHED / f"{label}.jsonl").open("rb") as part:
                shutil.copyfileobj(part, joined)
