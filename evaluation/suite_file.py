"""An organiser's own suite: a file in the form of suites/dclm.json, checked before it is used.

A mistake in it would be a wrong question to every model, so nothing is guessed: unknown keys,
repeated labels and impossible values are refused with the task's place in the file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from evaluation.metrics import METRIC_VERSIONS
from evaluation.suite import SETTINGS, SUITE_NAMES
from submissions.failures import Failure

TYPES = ("multiple_choice", "schema", "language_modeling", "generation_task_with_answers")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,19}")
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
SUITE_KEYS = {"name", "source", "max_seq_len", "batch_size", "tasks"}
TASK_KEYS = {"label", "category", "type", "shots", "file", "sha1", "rows", "has_categories",
             "baselines", "core", *SETTINGS}  # fmt: skip
NEEDED = ("label", "category", "type", "shots", "file", "sha1", "baselines")
WHOLE_SETTINGS = ("max_seq_len", "batch_size")


def checked_document(path: Path) -> dict[str, Any]:
    """The content of a suite file; raises `suite_invalid` with what is wrong and where."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _invalid(path, f"it cannot be read: {error}") from error
    problem = _problem(document)
    if problem is not None:
        raise _invalid(path, problem)
    found: dict[str, Any] = document
    return found


def _invalid(path: Path, problem: str) -> Failure:
    return Failure("suite_invalid", f"{path}: {problem}")


def _problem(document: Any) -> str | None:
    if not isinstance(document, dict) or not isinstance(document.get("tasks"), list):
        return "it holds no object with a list of tasks"
    name = document.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in (*SUITE_NAMES, "dclm"):
        return (
            "its name must be up to 20 small letters, digits, - and _, and not "
            f"{', '.join(SUITE_NAMES)} or dclm"
        )
    unknown = sorted(set(document) - SUITE_KEYS)
    if unknown:
        return f"unknown key {unknown[0]!r}"
    for key in WHOLE_SETTINGS:
        if not _whole(document.get(key), 1):
            return f"{key} must be a whole number from 1"
    if not document["tasks"]:
        return "it holds no task"
    labels: set[str] = set()
    for number, row in enumerate(document["tasks"], 1):
        problem = _task_problem(row)
        if problem is None and row["label"] in labels:
            problem = "its label occurs twice"
        if problem is not None:
            label = row.get("label") if isinstance(row, dict) else None
            return f"task {number} ({label}): {problem}"
        labels.add(row["label"])
    return None


def _task_problem(row: Any) -> str | None:
    if not isinstance(row, dict):
        return "it is no object"
    for key in NEEDED:
        if key not in row:
            return f"it has no {key}"
    unknown = sorted(set(row) - TASK_KEYS)
    if unknown:
        return f"unknown key {unknown[0]!r}"
    for problem, wrong in (
        ("label must be letters, digits, _, - and .", not _word(row["label"], LABEL)),
        ("category must be a word or several", not _text(row["category"])),
        (f"type must be one of {', '.join(TYPES)}", row["type"] not in TYPES),
        ("shots must be a whole number from 0", not _whole(row["shots"], 0)),
        ("file must be a path inside the folder of task files", not _inside(row["file"])),
        ("sha1 must be 40 hex digits (git hash-object)", not _word(row["sha1"], _SHA1)),
        ("rows must be a whole number from 1", not _whole(row.get("rows") or 1, 1)),
        ("has_categories must be true or false", not _flag(row, "has_categories")),
        ("core must be true or false", not _flag(row, "core")),
    ):
        if wrong:
            return problem
    return _baseline_problem(row["baselines"]) or _setting_problem(row)


_SHA1 = re.compile(r"[0-9a-f]{40}")


def _baseline_problem(baselines: Any) -> str | None:
    """Every version needs one: at 100 per cent nothing could be centred."""
    if isinstance(baselines, dict) and set(baselines) == set(METRIC_VERSIONS):
        numbers = [value for value in baselines.values() if _number(value)]
        if len(numbers) == len(baselines) and all(0 <= value < 100 for value in numbers):
            return None
    versions = " and ".join(METRIC_VERSIONS)
    return f"baselines must give {versions} a percentage from 0 to below 100"


def _setting_problem(row: dict[str, Any]) -> str | None:
    for key in SETTINGS:
        if key not in row:
            continue
        value = row[key]
        if key in WHOLE_SETTINGS and not _whole(value, 1):
            return f"{key} must be a whole number from 1"
        if key == "early_stopping_criteria":
            if not isinstance(value, list) or not all(_text(stop) for stop in value):
                return f"{key} must be a list of strings"
        elif key not in WHOLE_SETTINGS and not isinstance(value, str):
            return f"{key} must be a string"
    return None


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _word(value: Any, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _flag(row: dict[str, Any], key: str) -> bool:
    return isinstance(row.get(key, False), bool)


def _inside(value: Any) -> bool:
    if not _text(value):
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts
