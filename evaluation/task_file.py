"""Whether a task's file is the expected one and sound, before any compute.

Published suites know their files by sha1, with their faults. The files of a suite of your own are
read as strictly as shards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluation.native.answers import clean
from evaluation.suite import Suite, Task, blob_sha1, task_path
from submissions.failures import Failure

OPTIONS = {"multiple_choice": "choices", "schema": "context_options"}


def check_task_file(suite: Suite, task: Task, data: Path | None) -> Path:
    """The path of a task's file, known to be the expected one.

    Raises `task_file_missing` or `task_file_invalid` (another content than the suite names, or in a
    suite of your own a row that is not sound).
    """
    path = task_path(suite, task, data)
    if not path.is_file():
        made = " (made from GPQA's archive: crucible suite fetch --gpqa)" if task.made_from else ""
        raise Failure("task_file_missing", f"{task.label}: there is no file {path}{made}")
    found = blob_sha1(path)
    if found != task.sha1:
        raise Failure(
            "task_file_invalid",
            f"{task.label}: {path} has blob sha1 {found}, the suite names {task.sha1}",
        )
    if suite.own:
        check_rows(task, path)
    return path


def check_rows(task: Task, path: Path) -> None:
    """Raises `task_file_invalid` with the row (from 0) and the key that is at fault.

    Rows are lines that hold something. It refuses text that is no UTF-8, a byte order mark, a line
    that is cut off or no object, half of a surrogate pair, no rows at all, a missing category, the
    same row twice, options that are equal, and answers that normalise to nothing and so are always
    right.
    """
    data = path.read_bytes()
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise _invalid(task, "its file begins with a byte order mark: write UTF-8 without one")
    try:
        lines = [line for line in data.decode().split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise _invalid(task, f"its file is not UTF-8 in line {number}") from None
    if not lines:
        raise _invalid(task, "its file holds no row")
    seen: dict[str, int] = {}
    for index, line in enumerate(lines):
        row = _row(task, index, line)
        first = seen.setdefault(json.dumps(row, sort_keys=True), index)
        if first != index:
            raise _invalid(task, f"row {index} of its file is the same as row {first}")
        problem = _problem(task, row)
        if problem is not None:
            raise _invalid(task, f"row {index} of its file: {problem}")


def _row(task: Task, index: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _invalid(
            task, f"row {index} of its file is not JSON, or is cut off: {error}"
        ) from None
    if not isinstance(row, dict):
        raise _invalid(task, f"row {index} of its file is not a JSON object")
    for key, value in row.items():
        try:
            json.dumps([key, value], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            shown = key.encode(errors="replace").decode()
            raise _invalid(
                task, f"row {index} of its file: {shown!r} holds half a surrogate pair"
            ) from None
    return row


def _problem(task: Task, row: dict[str, Any]) -> str | None:
    """What is wrong with a row beyond the types of its keys, which the engines look at."""
    category = row.get("category")
    if task.has_categories and (not isinstance(category, str) or not category.strip()):
        return "'category' must be a name: the suite says that the task has categories"
    key = OPTIONS.get(task.type)
    options = row.get(key) if key else None
    if isinstance(options, list):
        texts = [option.strip() if isinstance(option, str) else option for option in options]
        if len(options) < 2:
            return f"{key!r} must hold two options or more"
        if any(text in texts[:place] for place, text in enumerate(texts)):
            return f"{key!r} holds the same option twice"
    if task.type == "generation_task_with_answers":
        given = [("answer", row.get("answer"))]
        aliases = row.get("aliases")
        given += [("aliases", one) for one in aliases] if isinstance(aliases, list) else []
        for name, answer in given:
            if isinstance(answer, str) and not clean(answer):
                return f"{name!r} holds {answer!r}, of which normalisation leaves nothing"
    return None


def _invalid(task: Task, what: str) -> Failure:
    return Failure("task_file_invalid", f"{task.label}: {what}")
