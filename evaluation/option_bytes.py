"""How long a task's options are in bytes of UTF-8, from the task's own file.

Tokens differ between tokenizers and bytes do not, so bits per byte can be compared between models
with different ones. An option's text is counted as it is in the file, without any delimiter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluation.suite import Suite, Task
from evaluation.task_file import check_task_file
from submissions.failures import Failure


def option_bytes(suite: Suite, task: Task, data: Path | None) -> list[list[int]]:
    """For each row of the task's file, the bytes of each option's text.

    A question of language modelling, and of written answers, has one option; the options of a
    schema share one text. Raises `task_file_missing` and `task_file_invalid`.
    """
    path = check_task_file(suite, task, data)
    found: list[list[int]] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                found.append(_row(task, len(found), line))
    return found


def _row(task: Task, number: int, line: str) -> list[int]:
    try:
        row = json.loads(line)
        return [len(text.encode("utf-8", "surrogatepass")) for text in _texts(task.type, row)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            "task_file_invalid", f"{task.label}: row {number} is not of the type {task.type}"
        ) from error


def _texts(kind: str, row: dict[str, Any]) -> list[str]:
    if kind == "multiple_choice":
        return list(row["choices"])
    if kind == "generation_task_with_answers":
        return [row["answer"]]
    options = row["context_options"] if kind == "schema" else [None]
    return [row["continuation"]] * len(options)
