"""The rows of a task's file, as LLM Foundry reads them, and the examples of each prompt.

Source of every rule: llm-foundry 0.22.0, eval/datasets/in_context_learning_evaluation.py and
eval/datasets/utils.py.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.suite import Task, rows_by_category
from submissions.failures import Failure

FEWSHOT_SEED = 1234  # LLM Foundry's default, which DCLM leaves as it is
TEXT, TEXTS, NUMBER = "a string", "a list of strings", "a number"
KEYS = {
    "multiple_choice": {"query": TEXT, "choices": TEXTS, "gold": NUMBER},
    "schema": {"context_options": TEXTS, "continuation": TEXT, "gold": NUMBER},
    "language_modeling": {"context": TEXT, "continuation": TEXT},
    "generation_task_with_answers": {"context": TEXT, "answer": TEXT},
}
GENERATION = "generation_task_with_answers"
OPTIONS = {"multiple_choice": "choices", "schema": "context_options"}


@dataclass(frozen=True)
class Group:
    """The rows among which a prompt's examples are drawn: a task's, or one category's of it.

    `rows` are the objects of the file as they were read, `indices` their numbers in the file.
    """

    category: str | None
    indices: list[int]
    rows: list[dict[str, Any]]


def read_groups(task: Task, path: Path) -> list[Group]:
    """The task's groups, by name; `task_file_invalid` for a row that is not of the task's type."""
    with path.open(encoding="utf-8", newline="\n") as file:
        lines = [line for line in file.read().split("\n") if line.strip()]
    rows = [_checked(task, index, json.loads(line)) for index, line in enumerate(lines)]
    chains = ["chain_of_thought" in row for row in rows]
    if task.type == GENERATION and any(chains) and not all(chains):
        raise invalid(
            task, chains.index(False), "has no 'chain_of_thought', although other rows have one"
        )
    return [
        Group(category, indices, [rows[index] for index in indices])
        for category, indices in rows_by_category(task, path)
    ]


def stripped(row: dict[str, Any]) -> dict[str, Any]:
    """The row without white space around its texts; texts in lists stay as they are."""
    return {k: v.strip() if isinstance(v, str) else v for k, v in row.items()}


def draw_examples(rows: int, shots: int) -> list[list[int]]:
    """For each row, the rows that are its prompt's examples, in their order in the prompt.

    One generator serves all rows in turn. The order is that in which a Python set gives its
    members back, so the code uses a real set with the same insertions and removals.
    """
    generator = random.Random(FEWSHOT_SEED)  # noqa: S311 - LLM Foundry's, to the number
    if shots == 0:
        return [[] for _ in range(rows)]
    return [list(_draw(rows, min(rows - 1, shots), own, generator)) for own in range(rows)]


def _draw(rows: int, shots: int, own: int, generator: random.Random) -> set[int]:
    chosen = set(generator.sample(range(rows), shots))
    if own in chosen:
        chosen.remove(own)
        if len(chosen) >= rows - 1:
            return chosen
        other = generator.choice(range(rows))
        while other in chosen or other == own:
            other = generator.choice(range(rows))
        chosen.add(other)
    return chosen


def _checked(task: Task, index: int, row: Any) -> dict[str, Any]:
    """The row with the keys of its type, or a `task_file_invalid` that says what it lacks."""
    if not isinstance(row, dict):
        raise invalid(task, index, "is not a JSON object")
    for key, kind in KEYS[task.type].items():
        if not _is(kind, row.get(key)):
            raise invalid(task, index, f"has no {key!r} that is {kind}")
    for key in ("aliases", "chain_of_thought"):
        wanted = TEXTS if key == "aliases" else TEXT
        if task.type == GENERATION and key in row and not _is(wanted, row[key]):
            raise invalid(task, index, f"has {key!r} that is not {wanted}")
    options = row[OPTIONS[task.type]] if task.type in OPTIONS else [""]
    if not 0 <= row.get("gold", 0) < len(options):
        raise invalid(
            task, index, f"names a gold option that is not among its {len(options)} options"
        )
    return row


def _is(kind: str, value: Any) -> bool:
    if kind == TEXTS:
        return isinstance(value, list) and all(isinstance(text, str) for text in value)
    return isinstance(value, str) if kind == TEXT else type(value) is int


def labels(row: dict[str, Any]) -> tuple[str, ...]:
    """The different texts that count as a generation's answer, as the file has them."""
    if "answer" not in row:
        return ()
    return tuple(dict.fromkeys([row["answer"], *row.get("aliases", [])]))


def invalid(task: Task, index: int, what: str) -> Failure:
    """The refusal of a row, by its number in the file."""
    return Failure("task_file_invalid", f"{task.label}: row {index} of its file {what}")
