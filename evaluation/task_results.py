"""What a run leaves in its folder for each task, and how a later run finds it again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evaluation.examples import Example, result_of, write_examples
from evaluation.suite import Task
from submissions.job import write_json_atomically

EXAMPLES, FINISHED = "examples.jsonl", "tasks"


def task_result(examples: list[Example], seconds: float) -> dict[str, Any]:
    """A task's entry in results.json."""
    overall = result_of(examples)
    entry: dict[str, Any] = {
        "score": overall.score,
        "n": overall.n,
        "stderr": overall.stderr,
        "seconds": round(seconds, 3),
    }
    names = sorted({example.category for example in examples if example.category is not None})
    if names:
        by_name = {name: [e for e in examples if e.category == name] for name in names}
        parts = {name: result_of(members) for name, members in by_name.items()}
        entry["categories"] = {
            name: {"score": part.score, "n": part.n} for name, part in parts.items()
        }
    return entry


def finished_result(output: Path, task: Task, work: str) -> dict[str, Any] | None:
    """What an earlier run in this folder found, when it did the very same work."""
    try:
        document = json.loads((output / FINISHED / f"{task.label}.json").read_text())
    except (OSError, ValueError):
        return None
    same = document.get("work") == work
    if not same or not (output / FINISHED / f"{task.label}.jsonl").is_file():
        return None
    result: dict[str, Any] = document["result"]
    return result


def keep_task(
    output: Path, task: Task, work: str, examples: list[Example], result: dict[str, Any]
) -> None:
    """Records first, then the note that they are whole: a kill in between costs one task."""
    partial = output / FINISHED / f".{task.label}.part"
    write_examples(partial, examples)
    partial.rename(output / FINISHED / f"{task.label}.jsonl")
    note = {"work": work, "result": result}
    write_json_atomically(output / FINISHED / f"{task.label}.json", note)


def join_examples(output: Path, labels: Iterable[str]) -> None:
    """Writes examples.jsonl from the tasks' own files, in this order."""
    partial = output / f".{EXAMPLES}.part"
    with partial.open("wb") as joined:
        for label in labels:
            with (output / FINISHED / f"{label}.jsonl").open("rb") as part:
                shutil.copyfileobj(part, joined)
    partial.rename(output / EXAMPLES)
