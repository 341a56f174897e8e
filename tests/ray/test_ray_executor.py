"""Tasks on a real Ray cluster of this machine, whose workers and machines are killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from submissions.executor import LocalProcesses, Result, Task
from submissions.failures import Failure
from submissions.ray_executor import RayCluster
from training_recipes.scales import load_scale
from training_recipes.tokenize import tokenize_dataset


def nothing() -> None:
    """No sign of life is looked for."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One machine with one processor."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def placement(cluster: Any) -> RayCluster:
    return RayCluster(cluster.address)


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 2:
        raise Failure("not_json", "the line is not JSON", shard="a.jsonl", line=7)
    return number


def full(_number: int) -> int:
    raise OSError(28, "No space left on device", "/somewhere")


def die(_number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def where(task: tuple[int, Path]) -> str:
    """Says on which machine it is, then works for a while."""
    import ray

    number, folder = task
    node = str(ray.get_runtime_context().get_node_id())
    (folder / f"{number}-{node}").touch()
    time.sleep(2)
    return node


@dataclass(frozen=True)
class DyingOnce:
    """Kills the worker the first time that it is at a task: before the work, or after."""

    function: Callable[[Any], Any]
    folder: Path

    def __call__(self, task: Any) -> Any:
        seen = self.folder / hashlib.sha256(repr(task).encode()).hexdigest()
        first = not seen.exists()
        seen.touch()
        before = len(list(self.folder.iterdir())) % 2
        if first and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = self.function(task)
        if first:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@dataclass(frozen=True)
class DeadlyCluster:
    """A placement whose workers die once at every task."""

    placement: RayCluster
    folder: Path

    def __call__(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], tick: Callable[[], None]
    ) -> Iterator[tuple[Task, Result]]:
        return self.placement(DyingOnce(function, self.folder), tasks, tick)


def test_every_task_has_its_result(placement: RayCluster) -> None:
    ticks = []
    results = dict(placement(square, range(300), lambda: ticks.append(1)))
    assert results == {number: number * number for number in range(300)}
    assert ticks
    assert dict(placement(square, [], nothing)) == {}


def test_exceptions_come_back_whole(placement: RayCluster) -> None:
    with pytest.raises(Failure) as caught:
        list(placement(refuse, range(5), nothing))
    assert (caught.value.code, caught.value.place) == ("not_json", "a.jsonl:7")
    with pytest.raises(OSError, match="No space") as full_disk:
        list(placement(full, [1], nothing))
    assert full_disk.value.errno == 28


def test_work_that_always_kills_is_given_up(placement: RayCluster) -> None:
    with pytest.raises(Failure, match="3 workers died") as caught:
        list(placement(die, [1], nothing))
    assert caught.value.code == "out_of_memory"


def test_tokenising_survives_the_death_of_every_worker(
    placement: RayCluster, tmp_path: Path
) -> None:
    dataset = tmp_path / "data"
    dataset.mkdir()
    for number in range(3):
        lines = [json.dumps({"text": f"Document {number} {i}. " * 20}) for i in range(300)]
        (dataset / f"{number}.jsonl").write_text("\n".join(lines))
    scale = load_scale("smoke")
    here = tokenize_dataset([dataset], tmp_path / "here", scale, placement=LocalProcesses(1))
    (tmp_path / "seen").mkdir()
    deadly = DeadlyCluster(placement, tmp_path / "seen")
    there = tokenize_dataset([dataset], tmp_path / "there", scale, placement=deadly)
    assert len(list((tmp_path / "seen").iterdir())) >= 4  # three shards read, and some written
    assert there == here
    for path in (tmp_path / "here").iterdir():
        assert (tmp_path / "there" / path.name).read_bytes() == path.read_bytes()


def test_the_death_of_a_machine_costs_only_its_tasks(
    cluster: Any, placement: RayCluster, tmp_path: Path
) -> None:
    list(placement(square, [1], nothing))  # connects
    second = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    killed = False

    def kill() -> None:
        """As soon as the second machine has begun two tasks."""
        nonlocal killed
        begun = [path for path in tmp_path.iterdir() if path.name.endswith(second.node_id)]
        if len(begun) >= 2 and not killed:
            killed = True
            cluster.remove_node(second, allow_graceful=False)

    tasks = [(number, tmp_path) for number in range(6)]
    results = dict(placement(where, tasks, kill))
    assert killed
    assert sorted(results) == tasks
    begun_twice = len(list(tmp_path.iterdir())) - len(tasks)
    assert begun_twice >= 1  # what the machine was at has been done again elsewhere


def test_a_cluster_that_is_not_there(placement: RayCluster) -> None:
    import ray

    ray.shutdown()
    for address in ("127.0.0.1:1", "127.0.0.1:port", "nobody.invalid:6379"):
        with pytest.raises(Failure, match=f"there is no Ray cluster at {address}: ") as caught:
            list(RayCluster(address)(square, [1], nothing))
        assert caught.value.code == "cluster_unreachable"
