"""Suites of tasks as data: the 53 labels of DCLM, their CORE, and the bundled smoke suite.

A suite file (suites/*.json) holds what LLM Foundry's task configuration holds, plus what makes it
checkable: the git blob sha1 of each task file, its rows, and the baselines of each metric version.
An organiser's own suite is a file in the same form, named by its path (evaluation/suite_file.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from evaluation.suite_file import TaskRow, read_bundled, read_own
from submissions.codec import decode
from submissions.failures import Failure
from submissions.hashing import file_sha256
from training_recipes.scales import load_scale

FOLDER = Path(__file__).parent / "suites"
SMOKE_TASKS = Path(__file__).parent / "smoke_tasks"
REMEMBERED = 8  # suite files that a process keeps in memory


@dataclass(frozen=True, eq=False)
class Task:
    """One task as LLM Foundry runs it.

    `sha1` is the git blob sha1 of the file; `rows` is None where the file was never available to
    be counted; `baselines` are percent by metric version; `settings` are LLM Foundry's further
    options. `made_from` names the archive from which `suite fetch` makes the file ("gpqa").
    """

    label: str
    category: str
    type: str
    shots: int
    file: str
    sha1: str
    rows: int | None
    has_categories: bool
    baselines: Mapping[str, float]
    core: bool
    settings: dict[str, Any]
    made_from: str | None = None

    def answer_determining(self, max_seq_len: int) -> dict[str, Any]:
        """Everything that can change an answer to this task, given the same model."""
        return {
            "label": self.label,
            "type": self.type,
            "shots": self.shots,
            "file": self.file,
            "sha1": self.sha1,
            "has_categories": self.has_categories,
            "max_seq_len": max_seq_len,
            # The batch size is left out: it changes speed and rounding noise, not the task.
            "settings": {k: v for k, v in self.settings.items() if k != "batch_size"},
        }


@dataclass(frozen=True)
class Suite:
    """Tasks in their published order, with the settings they share."""

    name: str
    max_seq_len: int
    batch_size: int
    tasks: tuple[Task, ...]
    bundled: Path | None  # where the task files lie when they come with Crucible
    own: bool = False  # an organiser's, whose task files have not been checked

    @property
    def hash(self) -> str:
        """SHA-256 of what determines answers; baselines are the metric version's business."""
        return hash_of([task.answer_determining(self.max_seq_len) for task in self.tasks])

    def choose(self, labels: list[str] | None) -> list[Task]:
        """The tasks with these labels, in the suite's order; all of them for None.

        Raises `unknown_task` for a label that the suite does not hold.
        """
        if labels is None:
            return list(self.tasks)
        known = {task.label for task in self.tasks}
        for label in labels:
            if label not in known:
                raise Failure("unknown_task", f"the suite {self.name} has no task {label!r}")
        return [task for task in self.tasks if task.label in labels]


def load_suite(name: str) -> Suite:
    """The suite `smoke`, `core` (22 tasks), `full` (53 tasks), or that of a file `….json`.

    Raises `unknown_suite` for another name, `suite_invalid` for a file that is no suite.
    """
    if name.endswith(".json"):
        return read_own_suite(Path(name))
    if name == "smoke":
        return read_suite(FOLDER / "smoke.json", "smoke", SMOKE_TASKS)
    full = read_suite(FOLDER / "dclm.json", "full", None)
    if name == "full":
        return full
    if name == "core":
        tasks = tuple(task for task in full.tasks if task.core)
        return Suite("core", full.max_seq_len, full.batch_size, tasks, None)
    raise Failure("unknown_suite", f"there is no suite {name!r}")


def suite_of(scale: str, large: str = "full") -> str:
    """The suite that judges a scale: the bundled one for small scales, `large` for all others."""
    return "smoke" if load_scale(scale).bundled else large


def read_suite(path: Path, name: str, bundled: Path | None) -> Suite:
    """The suite of a file in the form of suites/dclm.json, whose task files `bundled` holds."""
    return _bundled(path, name, bundled, file_sha256(path))


@lru_cache(REMEMBERED)
def _bundled(path: Path, name: str, bundled: Path | None, _content: str) -> Suite:
    document, rows = read_bundled(path)
    tasks = tuple(task_of(row, row.made_from) for row in rows)
    return Suite(name, document.max_seq_len, document.batch_size, tasks, bundled)


def read_own_suite(path: Path) -> Suite:
    """The suite of an organiser's file, as it is now; raises `suite_invalid` in one sentence."""
    return _own(path, file_sha256(path) if path.is_file() else "")


@lru_cache(REMEMBERED)
def _own(path: Path, _content: str) -> Suite:
    document, rows = read_own(path)
    tasks = tuple(map(task_of, rows))
    return Suite(document.name, document.max_seq_len, document.batch_size, tasks, None, own=True)


def task_of(row: TaskRow, made_from: str | None = None) -> Task:
    """A task from its row in a suite file."""
    return Task(
        label=row.label,
        category=row.category,
        type=row.type,
        shots=row.shots,
        file=row.file,
        sha1=row.sha1,
        rows=row.rows,
        has_categories=row.has_categories,
        baselines=row.baselines,
        core=row.core,
        settings=row.settings,
        made_from=made_from,
    )


def hash_of(document: Any) -> str:
    """SHA-256 of a document's canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def blob_sha1(path: Path) -> str:
    """Git's name of a file's content: sha1 over `blob <size>`, a zero byte and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def count_rows(path: Path) -> int:
    """Lines that hold something."""
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def rows_by_category(task: Task, path: Path) -> list[tuple[str | None, list[int]]]:
    """Row numbers in file order; where a task has categories, for each of them, sorted by name."""
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    if not task.has_categories:
        return [(None, list(range(len(lines))))]
    rows: dict[str | None, list[int]] = {}
    for index, line in enumerate(lines):
        where = f"{task.label}: {path}, row {index}"
        row = decode(_Categorised, line.encode(), code="task_file_invalid", where=where)
        rows.setdefault(row.category, []).append(index)
    return sorted(rows.items(), key=lambda group: str(group[0]))


class _Categorised(msgspec.Struct):
    """What is read of a task's row to sort it by category."""

    category: str


def task_path(suite: Suite, task: Task, data: Path | None) -> Path:
    """Where the task's file must lie: in Crucible where the suite is bundled, else in `data`."""
    folder = suite.bundled or data
    if folder is None:
        raise Failure("task_file_missing", f"the suite {suite.name} needs a folder of task files")
    return folder / task.file


def verify_rows(suite: Suite, data: Path | None) -> list[dict[str, Any]]:
    """One row a task: `label, category, type, shots, file, sha1, rows, present, ok`.

    `rows` are counted in the file when it is there; `ok` says that its blob sha1 is the expected
    one. Without a folder to look in, only the facts: `present` and `ok` are None.
    """
    rows = []
    for task in suite.tasks:
        row: dict[str, Any] = {
            "label": task.label,
            "category": task.category,
            "type": task.type,
            "shots": task.shots,
            "file": task.file,
            "sha1": task.sha1,
            "made_from": task.made_from,
            "rows": task.rows,
            "core": task.core,
            "baselines": task.baselines,
            "present": None,
            "ok": None,
        }
        if data is not None or suite.bundled is not None:
            path = task_path(suite, task, data)
            row["present"] = path.is_file()
            row["ok"] = row["present"] and blob_sha1(path) == task.sha1
            if row["present"]:
                row["rows"] = count_rows(path)
        rows.append(row)
    return rows
