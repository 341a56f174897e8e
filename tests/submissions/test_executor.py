"""Tasks on worker processes: results, failures, and workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from submissions.executor import LocalProcesses
from submissions.failures import Failure
from submissions.ray_executor import RayCluster


def nothing() -> None:
    """No sign of life is looked for."""


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 2:
        raise Failure("not_json", "the line is not JSON", shard="a.jsonl", line=7)
    return number


def die_once(path: Path) -> str:
    """Kills its own process the first time."""
    if not path.exists():
        path.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def die(_number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slow(_number: int) -> int:
    time.sleep(2.5)
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_has_its_result(workers: int) -> None:
    results = dict(LocalProcesses(workers)(square, range(20), nothing))
    assert results == {number: number * number for number in range(20)}
    assert dict(LocalProcesses(workers)(square, [], nothing)) == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_comes_back_whole(workers: int) -> None:
    with pytest.raises(Failure) as caught:
        list(LocalProcesses(workers)(refuse, range(5), nothing))
    assert (caught.value.code, caught.value.place) == ("not_json", "a.jsonl:7")
    assert caught.value.as_dict()["fault"] == "participant"


def test_a_task_whose_worker_was_killed_is_done_again(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abcd"]
    (tmp_path / "b").write_text("this one lives")
    results = dict(LocalProcesses(2)(die_once, paths, nothing))
    assert results == {path: path.name for path in paths}


def test_a_task_that_kills_every_worker_is_given_up() -> None:
    with pytest.raises(Failure, match="3 processes died") as caught:
        list(LocalProcesses(2)(die, [1, 2, 3], nothing))
    assert caught.value.code == "out_of_memory"


@pytest.mark.parametrize("workers", [1, 2])
def test_there_are_signs_of_life_during_a_long_task(workers: int) -> None:
    ticks: list[float] = []
    list(LocalProcesses(workers)(slow, [1], lambda: ticks.append(time.monotonic())))
    assert len(ticks) >= 2


PARENT = """
from submissions.executor import LocalProcesses
from tests_of_executor import tell_and_sleep
if __name__ == "__main__":
    list(LocalProcesses(2)(tell_and_sleep, [1, 2], lambda: None))
"""
CHILD = """
import os, time
def tell_and_sleep(number):
    open(f"{number}.pid", "w").write(str(os.getpid()))
    time.sleep(600)
"""


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "tests_of_executor.py").write_text(CHILD)
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path)
    try:
        pids = [_read_when_there(tmp_path / f"{number}.pid") for number in (1, 2)]
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _read_when_there(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


def test_without_ray_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Failure, match="ray is not installed") as caught:
        list(RayCluster("head:6379")(square, [1], nothing))
    assert caught.value.code == "missing_dependency"
