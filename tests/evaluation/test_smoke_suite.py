"""The bundled suite: what its files promise."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evaluation.build_smoke_tasks import build
from evaluation.suite import FOLDER, SMOKE_TASKS, Task, load_suite

TASKS = load_suite("smoke").tasks
WITH_OPTIONS = [task for task in TASKS if task.type in ("multiple_choice", "schema")]


def rows_of(task: Task) -> list[dict[str, Any]]:
    text = (SMOKE_TASKS / task.file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def options_of(row: dict[str, Any]) -> list[str]:
    options: list[str] = row.get("choices") or row["context_options"]
    return options


def test_the_generator_writes_the_committed_files(tmp_path: Path) -> None:
    build(tmp_path, tmp_path)
    committed = {path.name: path.read_bytes() for path in SMOKE_TASKS.glob("*.jsonl")}
    assert len(committed) == len(TASKS)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")} == committed
    assert (tmp_path / "smoke.json").read_text() == (FOLDER / "smoke.json").read_text()


def test_every_type_of_the_53_with_and_without_shots() -> None:
    assert len(TASKS) >= 8
    kinds = {(task.type, task.shots > 0) for task in TASKS}
    assert {
        ("multiple_choice", False),
        ("multiple_choice", True),
        ("language_modeling", False),
        ("language_modeling", True),
        ("schema", False),
        ("generation_task_with_answers", True),
    } <= kinds
    assert any(task.has_categories for task in TASKS)
    chains = [task for task in TASKS if "cot_delimiter" in task.settings]
    assert chains
    assert all(task.settings["early_stopping_criteria"] for task in chains)
    assert all("chain_of_thought" in row for task in chains for row in rows_of(task))
    assert not any(task.core for task in TASKS)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.label)
def test_enough_examples_and_none_twice(task: Task) -> None:
    rows = rows_of(task)
    assert task.rows == len(rows)
    assert len(rows) >= 40
    questions = [json.dumps({**row, "gold": None}, sort_keys=True) for row in rows]
    assert len(set(questions)) == len(rows)
    for row in rows:
        for value in row.values():
            if isinstance(value, str):
                assert value == value.strip()
                assert value


@pytest.mark.parametrize("task", WITH_OPTIONS, ids=lambda task: task.label)
def test_no_position_pays_and_chance_is_the_baseline(task: Task) -> None:
    rows = rows_of(task)
    counts = Counter(len(options_of(row)) for row in rows)
    (options,) = counts
    assert task.baselines["v2"] == pytest.approx(100 / options)
    assert all(len(set(options_of(row))) == options for row in rows)
    positions = Counter(row["gold"] for row in rows)
    assert set(positions) == set(range(options))
    assert max(positions.values()) - min(positions.values()) <= 1


@pytest.mark.parametrize(
    "task", [task for task in TASKS if task not in WITH_OPTIONS], ids=lambda task: task.label
)
def test_open_answers_have_no_baseline_and_no_single_winner(task: Task) -> None:
    answers = Counter(row.get("continuation") or row["answer"] for row in rows_of(task))
    assert task.baselines["v2"] == 0
    assert answers.most_common(1)[0][1] <= 0.4 * answers.total()


def test_options_of_word_order_hold_the_same_words() -> None:
    (task,) = load_suite("smoke").choose(["smoke_word_order"])
    for row in rows_of(task):
        assert len({tuple(sorted(option.split())) for option in row["choices"]}) == 1
