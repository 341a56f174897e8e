"""An organiser's own baseline: a model's results and answers as a row of a board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from crucible.leaderboard.models import Baseline
from evaluation.baselines import HERE
from evaluation.examples import Example, write_examples
from evaluation.suite import load_suite
from evaluation.task_results import task_figures
from submissions.codec import to_json

pytestmark = pytest.mark.django_db
FULL = load_suite("full")
LARGE = "/leaderboard/filtering/1b-1x/"
ROWS = 12


@pytest.fixture(autouse=True)
def large(settings) -> None:
    settings.CRUCIBLE_SCALES = ["smoke", "1b-1x"]


def write_run(folder: Path, right: int = 6, **changes: Any) -> Path:
    """results.json and examples.jsonl of a model that answers `right` of ROWS of every task."""
    records, tasks = [], {}
    for task in FULL.tasks:
        category = "one" if task.has_categories else None
        answers = [
            Example(task.label, index, category, index < right, 0, 0 if index < right else 1,
                    [-1.0, -2.0], [1, 2])
            for index in range(ROWS)
        ]  # fmt: skip
        records += answers
        tasks[task.label] = to_json(task_figures(answers, 1.0))
    document = {"suite": "full", "suite_hash": FULL.hash, "engine": "native", "precision": "fp32",
                "limit": None, "model_sha256": "ab" * 32, "tasks": tasks}  # fmt: skip
    write_examples(folder / "examples.jsonl", records)
    path = folder / "results.json"
    path.write_text(json.dumps(document | changes))
    return path


def add(path: Path, **options: Any) -> None:
    call_command("add_baseline", str(path), **{"name": "A model", "scale": "1B-1x"} | options)


def test_it_stands_on_the_board_with_the_intervals_of_its_answers(tmp_path, client, capsys) -> None:
    add(write_run(tmp_path), trained="2 trillion tokens", source="https://example.org/model")
    assert "A model added at 1b-1x; 1 baselines" in capsys.readouterr().out
    baseline = Baseline.objects.get()
    score = baseline.scores["v2"]
    low, high = score["intervals"]["core"]
    assert low < score["core"] < high
    assert score["tasks"]["copa"]["interval"][0] < 0.5 < score["tasks"]["copa"]["interval"][1]
    text = client.get(LARGE).text
    assert '<span class="mark">baseline</span>' in text
    assert "another recipe: 2 trillion tokens" in text
    page = client.get(f"/baselines/{baseline.id}/").text
    assert "an organiser evaluated this model" in page
    assert "published this result" not in page
    assert "https://example.org/model" in page


def test_the_same_model_is_updated(tmp_path, capsys) -> None:
    add(write_run(tmp_path))
    add(write_run(tmp_path, right=9), name="The same")
    assert "The same updated" in capsys.readouterr().out
    baseline = Baseline.objects.get()
    assert (baseline.name, baseline.origin) == ("The same", HERE)
    assert baseline.scores["v2"]["tasks"]["copa"]["score"] == 0.75


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limit": 12}, "has the first 12 rows of a task only"),
        ({"suite_hash": "cd" * 32}, "another version of the suite"),
        ({"audit": {"engine": "llm-foundry", "precision": "fp32", "examples": 1, "different": [],
                    "close": 0, "largest_difference": 0.1, "ok": False}}, "its audit found other"),
    ],
)  # fmt: skip
def test_what_gives_no_score_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        add(write_run(tmp_path, **changes))
    assert not Baseline.objects.exists()


def test_missing_tasks_other_answers_and_unknown_scales_are_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    with pytest.raises(CommandError, match="no scale '9b'"):
        add(path, scale="9b")
    document = json.loads(path.read_text())
    del document["tasks"]["copa"]
    path.write_text(json.dumps(document))
    with pytest.raises(CommandError, match="gives no CORE: it lacks copa"):
        add(path)
    whole = write_run(tmp_path).read_text()
    write_run(tmp_path, right=7)
    path.write_text(whole)
    with pytest.raises(CommandError, match=r"examples.jsonl is of another run"):
        add(path)
    (tmp_path / "examples.jsonl").unlink()
    with pytest.raises(CommandError, match=r"examples.jsonl"):
        add(path)
    assert not Baseline.objects.exists()


def test_a_name_that_no_column_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--name has more than 200 characters"):
        add(write_run(tmp_path), name="x" * 201)
