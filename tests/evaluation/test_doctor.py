"""`crucible doctor` for laptops and nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from submissions.cli import main
from submissions.diagnosis import asked
from training_recipes.engines import usable
from training_recipes.node_checks import imported


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert all(set(check) >= {"name", "ok", "message", "next_step"} for check in checks)
    return {check["name"]: check for check in checks}


def test_a_laptop_is_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    checks = document(capsys)
    assert checks["tokenizer"]["ok"]
    assert not checks["torch"]["matters"]


def test_a_node_for_a_large_scale_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["doctor", "node", "--scale", "400m-1x", "--data", str(tmp_path), "--json"]
    assert main(arguments) == 1
    checks = document(capsys)
    assert "400m-1x is trained on GPUs" in str(checks["driver"]["message"])
    assert str(checks["task_files"]["message"]).startswith("53 of 53 task files")
    assert {"composer", "llm-foundry", "clock", "disk"} <= set(checks)


def test_an_old_driver_is_told_which_one_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(usable, "driver_version", lambda: "550.54")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert main(["doctor", "node", "--json"]) == 1
    message = str(document(capsys)["driver"]["message"])
    assert "550.54" in message
    assert "580" in message


def test_an_engine_that_is_broken_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "halfway.py").write_text("raise RuntimeError('first\\nNo module named narwhals')")
    monkeypatch.syspath_prepend(tmp_path)
    check = asked("engine", lambda: imported("halfway", "halfway"))
    assert (check.ok, check.message) == (
        False, "halfway cannot be imported: No module named narwhals",
    )  # fmt: skip
    assert imported("numpy", "numpy").startswith("numpy 2")


def test_an_unknown_scale_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "node", "--scale", "9b-1x"]) == 2
    assert "9b-1x" in capsys.readouterr().err
