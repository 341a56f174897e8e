"""The commands from the task files of the bundled suite to a cleaned dataset, and the stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.contamination.questions import read_questions
from evaluation.contamination.stage import stage
from evaluation.suite import load_suite, task_path
from submissions.cli import main
from submissions.job import run_stage
from tests.evaluation.contamination.conftest import FILLER


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code = main(["contamination", *arguments, "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    document: dict[str, Any] = json.loads(said.out)
    return document


@pytest.fixture
def leaked(tmp_path: Path) -> Path:
    """A shard with one question of the bundled suite, its answer behind it."""
    suite = load_suite("smoke")
    task = next(task for task in suite.tasks if task.label == "smoke_word_order")
    one = read_questions(task, task_path(suite, task, None))[3]
    path = tmp_path / "data" / "a.jsonl"
    path.parent.mkdir()
    texts = [FILLER, f"{FILLER}\n{one.question} {one.answers[0]}\n{FILLER}"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_from_index_to_clean(
    leaked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, report = str(tmp_path / "index"), tmp_path / "report.json"
    built = run(capsys, "index", "--suite", "smoke", "--output", index)
    assert len(built["tasks"]) == 10
    assert built["missing"] == []
    scanned = run(
        capsys, "scan", "--index", index, "--input", str(leaked), "--output", str(report),
        "--workers", "1",
    )  # fmt: skip
    assert scanned == json.loads(report.read_text())
    assert scanned["index_hash"] == built["index_hash"]
    assert scanned["tasks"]["smoke_word_order"]["high"] == 1
    assert ("smoke_word_order", 3) in {(f["task"], f["index"]) for f in scanned["findings"]}
    cleaned = run(
        capsys, "clean", "--index", index, "--input", str(leaked.parent),
        "--output", str(tmp_path / "out"), "--workers", "1",
    )  # fmt: skip
    assert (cleaned["documents"], cleaned["removed"]) == (2, 1)
    again = run(
        capsys, "scan", "--index", index, "--input", str(tmp_path / "out"),
        "--output", str(report), "--workers", "1",
    )  # fmt: skip
    assert again["findings"] == []


def test_people_see_a_table(
    leaked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = str(tmp_path / "index")
    assert main(["contamination", "index", "--suite", "smoke", "--output", index]) == 0
    assert "checkable" in capsys.readouterr().out
    report = str(tmp_path / "report.json")
    scan = ["contamination", "scan", "--index", index, "--output", report, "--workers", "1"]
    assert main([*scan, "--input", str(leaked)]) == 0
    said = capsys.readouterr().out
    assert "2 documents" in said
    assert "smoke_word_order" in said
    assert main([*scan, "--input", str(tmp_path / "nothing")]) == 1
    assert main(["contamination", "index", "--suite", "none", "--output", index]) == 2


def test_the_stage_writes_a_report(leaked: Path, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    spec = {
        "key": "1-scan-a1", "stage": "scan", "parameters": {"suite": "smoke", "data": None},
        "inputs": {"dataset": {"uri": leaked.parent.as_uri(), "sha256": ""}},
        "output": (tmp_path / "output").as_uri(),
    }  # fmt: skip
    (job / "job.json").write_text(json.dumps(spec))
    assert run_stage(stage, [str(job)]) == 0
    result = json.loads((job / "result.json").read_text())
    figures = result["figures"]
    assert figures["tasks"]["smoke_word_order"]["high"] == 1
    assert "findings" not in figures
    report = json.loads((tmp_path / "output" / "report.json").read_text())
    assert result["outputs"]["report"]["uri"].endswith("/report.json")
    assert report["findings"]
