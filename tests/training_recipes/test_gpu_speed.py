"""The ten minutes on a GPU, tried with shrunk shapes: every case, resumption, a wrong device."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_cases, gpu_speed


def go(path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    arguments = ["gpu_speed.py", "--tiny", "--json", str(path), *options]
    monkeypatch.setattr(sys, "argv", arguments)
    return gpu_speed.main()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def speed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a whole run."""
    path = tmp_path_factory.mktemp("speed") / "speed.json"
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert go(path, monkeypatch, "--seconds", "1e6") == 0
    return path


def test_every_case_gives_figures(speed: Path) -> None:
    found = lines(speed)
    assert [line["case"] for line in found] == [case.name for case in gpu_speed.cases(False)]
    assert [line["case"] for line in found[:2]] == ["machine", "correctness"]
    assert not any("error" in line for line in found)
    assert all(line["tiny"] for line in found)
    assert found[1]["ok"]
    assert found[1]["largest_gap"] == 0  # the device is the CPU itself
    assert len(found[1]["losses"]) == 20
    training = [line for line in found if "tokens_per_second" in line and "scale" in line]
    assert {line["scale"] for line in training} == {"400m-1x", "1b-1x", "7b-1x", "79m-1x", "11m-1x"}
    for line in training:
        assert line["tokens_per_second"] > 0
        assert abs(line["loss"] - math.log(4096)) < 1.5
        assert line["graph_breaks"] == 0
        assert line["mfu"] is line["mfu_counted"] is line["peak_memory"] is None  # of a GPU alone
    assert len(found[-1]["kernels"]) == 20


def test_a_run_that_was_cut_off_goes_on(
    speed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = speed.read_text().splitlines(keepends=True)
    failed = json.dumps({"case": "loader", "error": "OSError"}) + "\n"
    left = [line for line in whole if "loader" not in line]
    path = tmp_path / "speed.json"
    path.write_text("".join([*left[:-1], failed]) + left[-1][:40])  # the last line is half there
    again: list[str] = []
    run = gpu_speed.run
    monkeypatch.setattr(gpu_speed, "run", lambda case, on: again.append(case.name) or run(case, on))
    assert go(path, monkeypatch) == 0
    assert again == ["loader", json.loads(whole[-1])["case"]]
    assert path.read_text().startswith("".join(left[:-1]))
    assert len(lines(path)) == len(whole) + 1  # the failed one stays
    assert go(path, monkeypatch) == 0
    assert len(again) == 2


def test_nothing_is_begun_without_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "speed.json"
    assert go(path, monkeypatch, "--seconds", "30") == 0
    assert [line["case"] for line in lines(path)] == ["machine"]  # no speed before correctness
    correct = json.dumps({"case": "correctness", "ok": True}) + "\n"
    path.write_text(path.read_text() + correct)
    assert go(path, monkeypatch, "--seconds", "16", "--only", "7b 4 blocks 2", "loader") == 0
    assert [line["case"] for line in lines(path)][2:] == ["loader"]  # the other takes longer


def test_a_device_that_computes_something_else_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([[8.0, 7.0], [8.0, 7.1]])
    monkeypatch.setattr(gpu_cases, "_losses", lambda *arguments: next(losses))
    path = tmp_path / "speed.json"
    assert go(path, monkeypatch, "--only", "correctness", "loader") == 1
    (line,) = lines(path)
    assert line["ok"] is False
    assert gpu_speed.finished(path) == set()  # it is asked again


def test_a_case_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loader(on: gpu_cases.Machine) -> dict[str, Any]:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpu_cases, "loader", loader)
    path = tmp_path / "speed.json"
    assert go(path, monkeypatch, "--only", "machine", "loader") == 1
    first, second = lines(path)
    assert "matmul_flops" in first
    assert second["error"] == "RuntimeError: no such kernel"
