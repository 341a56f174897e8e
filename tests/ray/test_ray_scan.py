"""Shards scanned and cleaned on a real Ray cluster whose workers are killed in the middle."""

from __future__ import annotations

import importlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evaluation.contamination.clean import CleanTask, clean_dataset
from evaluation.contamination.index import Index, build_index
from evaluation.contamination.questions import read_questions
from evaluation.contamination.scan import ScanTask, scan_dataset
from evaluation.suite import load_suite, task_path
from submissions.executor import LocalProcesses
from submissions.ray_executor import RayCluster


@pytest.fixture(scope="module")
def placement() -> Iterator[RayCluster]:
    """One machine with two processors."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield RayCluster(made.address)
    ray.shutdown()
    made.shutdown()


@dataclass(frozen=True)
class KilledOnce:
    """Does its work; the first time at each shard its worker is killed while it reads."""

    function: Callable[[Any], Any]
    folder: Path

    def __call__(self, task: ScanTask | CleanTask) -> Any:
        seen = self.folder / task.shard.name
        if not seen.exists():
            seen.touch()

            def killed(*_: Any) -> Any:
                os.kill(os.getpid(), signal.SIGKILL)

            module: Any = importlib.import_module(self.function.__module__)
            module.match_of = killed
        return self.function(task)


@dataclass(frozen=True)
class Deadly:
    """A placement whose workers are killed once at every shard."""

    placement: RayCluster
    folder: Path

    def __call__(
        self, function: Callable[[Any], Any], tasks: Sequence[Any], tick: Callable[[], None]
    ) -> Iterator[tuple[Any, Any]]:
        return self.placement(KilledOnce(function, self.folder), tasks, tick)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return build_index(load_suite("smoke"), None, tmp_path / "index")


@pytest.fixture
def leaked(tmp_path: Path) -> list[Path]:
    """Three shards, each document with a question of the smoke suite and its answer."""
    suite = load_suite("smoke")
    task = next(task for task in suite.tasks if task.label == "smoke_word_order")
    questions = read_questions(task, task_path(suite, task, None))
    (tmp_path / "data").mkdir()
    for number in range(3):
        texts = [f"{one.question} {one.answers[0]}" for one in questions[number::3]]
        texts.append("Nothing of the kind is said here, and nobody asked.")
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / "data" / f"{number}.jsonl").write_text(lines)
    (tmp_path / "seen").mkdir()
    return [tmp_path / "data"]


def test_a_scan_survives_the_death_of_every_worker(
    placement: RayCluster, index: Index, leaked: list[Path], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    here = scan_dataset(leaked, index.folder, tmp_path / "here.json", placement=LocalProcesses(1))
    there = scan_dataset(
        leaked, index.folder, tmp_path / "there.json", placement=Deadly(placement, seen)
    )
    assert sorted(path.name for path in seen.iterdir()) == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert here["tasks"]["smoke_word_order"]["high"] == here["documents"] - 3 > 0
    assert {**there, "seconds": 0} == {**here, "seconds": 0}


def test_a_cleaning_survives_the_death_of_every_worker(
    placement: RayCluster, index: Index, leaked: list[Path], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    here = clean_dataset(leaked, index.folder, tmp_path / "here", placement=LocalProcesses(1))
    there = clean_dataset(
        leaked, index.folder, tmp_path / "there", placement=Deadly(placement, seen)
    )
    assert sorted(path.name for path in seen.iterdir()) == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert here["removed"] == here["documents"] - 3 > 0
    assert {**there, "log": ""} == {**here, "log": ""}
    files = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert sorted(files) == ["0.jsonl", "1.jsonl", "2.jsonl", "contamination.log"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == files
