"""An organiser's own suite: read, hashed, scored by its name; mistakes named with their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.score import score_file
from evaluation.suite import blob_sha1, load_suite
from evaluation.task_file import check_task_file
from submissions import cli
from submissions.failures import Failure

ROW = {
    "label": "capitals", "category": "world knowledge", "type": "multiple_choice", "shots": 2,
    "file": "own/capitals.jsonl", "sha1": "0" * 40, "rows": 3,
    "continuation_delimiter": "\nAnswer: ", "baselines": {"v1": 50, "v2": 50},
}  # fmt: skip


def write(tmp_path: Path, *rows: Any, **changes: Any) -> str:
    document = {"name": "europe", "max_seq_len": 256, "batch_size": 4, "tasks": list(rows)}
    path = tmp_path / "europe.json"
    path.write_text(json.dumps(document | changes))
    return str(path)


def test_a_task_is_added_without_code(tmp_path: Path) -> None:
    file = tmp_path / "data" / ROW["file"]
    file.parent.mkdir(parents=True)
    file.write_text(
        "".join(
            f'{{"query": "{country}", "choices": ["Paris", "Rome"], "gold": 0}}\n'
            for country in ("France", "La France", "Frankreich")
        )
    )
    name = write(tmp_path, ROW | {"sha1": blob_sha1(file)})
    suite = load_suite(name)
    assert (suite.name, suite.max_seq_len, suite.bundled) == ("europe", 256, None)
    (task,) = suite.tasks
    assert task.settings == {"continuation_delimiter": "\nAnswer: "}
    assert check_task_file(suite, task, tmp_path / "data") == file

    results = tmp_path / "results.json"
    tasks = {"capitals": {"score": 0.75, "n": 3, "stderr": 0.1}}
    document = {"suite": "europe", "suite_hash": suite.hash, "limit": None, "tasks": tasks}
    results.write_text(json.dumps(document))
    score = score_file(results, suite_name=name)
    assert score.label == "EUROPE"
    assert score.mean == pytest.approx(0.5)
    assert score.core is score.extended is score.smoke is None

    with pytest.raises(Failure, match="give your own suite's file with --suite"):
        score_file(results)
    with pytest.raises(Failure, match="is of the suite europe, not full"):
        score_file(results, suite_name="full")


def test_the_commands_take_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("evaluation.commands",))
    assert cli.main(["suite", "list", "--suite", write(tmp_path, ROW), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["label"] == "capitals"
    (tmp_path / "other").mkdir()
    broken = write(tmp_path / "other", ROW | {"shots": -1})
    assert cli.main(["suite", "list", "--suite", broken]) == 1
    assert "task 1 (capitals): shots must be at least 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"label": "a b"}, "label must be letters"),
        ({"label": "../up"}, "label must be letters"),
        ({"category": ""}, "category must have at least 1 character"),
        ({"type": "quiz"}, "type must be one of multiple_choice"),
        ({"shots": True}, "shots is a truth value, not a whole number"),
        ({"shots": 1.5}, "shots is a number with a decimal point, not a whole number"),
        ({"file": "/etc/passwd"}, "file must be a path inside"),
        ({"file": "../up.jsonl"}, "file must be a path inside"),
        ({"sha1": "0"}, "sha1 must be 40 hex digits"),
        ({"sha1": None}, "sha1 is null, not a string"),
        ({"rows": -3}, "rows must be at least 1"),
        ({"has_categories": "yes"}, "has_categories is a string, not a truth value"),
        ({"baselines": 25}, "baselines is a whole number, not an object"),
        ({"baselines": {"v2": 25}}, "baselines must give v1 and v2"),
        ({"baselines": {"v1": 25, "v2": 100}}, "from 0 to below 100"),
        ({"baselines": {"v1": 25, "v2": "25"}}, "is a string, not a number"),
        ({"question_prelimiter": 3}, "question_prelimiter is a whole number, not a string"),
        ({"early_stopping_criteria": "\n"}, "criteria is a string, not a list"),
        ({"max_seq_len": 0}, "max_seq_len must be at least 1"),
        ({"delimiter": " "}, 'the unknown key "delimiter"'),
    ],
)
def test_a_mistake_in_a_task_is_named(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    fine = ROW | {"label": "fine"}
    with pytest.raises(Failure, match=sentence) as raised:
        load_suite(write(tmp_path, fine, ROW | change))
    assert raised.value.code == "suite_invalid"
    assert "task 2 (" in raised.value.message


@pytest.mark.parametrize("key", ["label", "sha1", "baselines"])
def test_a_key_that_is_missing_is_named(tmp_path: Path, key: str) -> None:
    row = {name: value for name, value in ROW.items() if name != key}
    with pytest.raises(Failure, match=f'task 1 .* has no "{key}"'):
        load_suite(write(tmp_path, row))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "full"}, "its name must be"),
        ({"name": "Über"}, "its name must be"),
        ({"max_seq_len": None}, "max_seq_len is null, not a whole number"),
        ({"tasks": []}, "holds no task"),
        ({"tasks": 3}, "tasks is a whole number, not a list"),
        ({"tasks": [3]}, "task 1 \\(None\\) is a whole number, not an object"),
        ({"tasks": [ROW, ROW]}, "task 2 \\(capitals\\): its label occurs twice"),
        ({"shots": 3}, 'the unknown key "shots"'),
    ],
)
def test_a_mistake_in_the_file_is_named(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Failure, match=sentence) as raised:
        load_suite(write(tmp_path, ROW, **change))
    assert raised.value.code == "suite_invalid"


def test_a_file_that_is_not_there_or_no_json(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    for content, sentence in (
        (None, "no such file"),
        (b"{", "is not JSON: its end is missing"),
        (b"\xff", "is not JSON: invalid character at line 1, column 1"),
        (b'{"tasks": [' + b"[" * 100_000, "nested too deeply"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(Failure, match=sentence) as raised:
            load_suite(str(path))
        assert raised.value.code == "suite_invalid"


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    name = write(tmp_path, ROW)
    before = load_suite(name)
    assert load_suite(name) is before
    write(tmp_path, ROW | {"shots": 3})
    assert load_suite(name).tasks[0].shots == 3
