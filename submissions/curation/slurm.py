"""Places the tasks of a stage in a Slurm array: `crucible curate --slurm N`.

The command itself waits on a machine that may call sbatch; partition, account, memory and time come
from Slurm's own variables (SBATCH_PARTITION, …). Tasks lie as JSON in the run's folder, which all
nodes see. A node that dies leaves tasks undone, and the next array takes them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from submissions.codec import decode, read
from submissions.curation.work import Part, StageTask, StepSpec, run_task
from submissions.executor import MAX_DEATHS, Result, Task
from submissions.failures import Failure, FailureDocument
from submissions.files import written_atomically
from submissions.s3 import S3Shard
from submissions.shards import LocalShard, Shard


class _Local(msgspec.Struct, tag="local"):
    name: str
    format: str
    path: str


class _S3(msgspec.Struct, tag="s3"):
    name: str
    format: str
    bucket: str
    key: str
    size: int
    etag: str


class _Part(msgspec.Struct):
    shard: _Local | _S3
    name: str
    kept: str | None
    target: str
    empty: bool


class _Task(msgspec.Struct):
    parts: list[_Part]
    steps: list[tuple[str, str, str]]
    before: str
    why: str
    first: bool
    last: bool
    own: list[str]
    scratch: str


class _Outcome(msgspec.Struct):
    failure: FailureDocument | None


class SlurmArray:
    """Arrays of at most `size` tasks; `output` is the run's, beside which the tasks lie."""

    def __init__(self, size: int, output: Path) -> None:
        self.size = size
        self.folder = output.with_name(f".{output.name}.partial") / "array"

    def __call__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        tick: Callable[[], None],
    ) -> Iterator[tuple[Task, Result]]:
        """See `executor.Placement`; takes the tasks of `run_task` alone.

        Raises `cluster_unreachable` where sbatch fails, and `out_of_memory` for tasks that were not
        done by any of several arrays.
        """
        assert function is run_task
        self.folder.mkdir(parents=True, exist_ok=True)
        left: list[Any] = list(tasks)
        for _ in range(MAX_DEATHS):
            for old in self.folder.iterdir():
                old.unlink()
            for number, task in enumerate(left):
                with written_atomically(self.folder / f"{number}.task", "wb") as file:
                    file.write(msgspec.json.encode(_written(task)))
            self._submit(len(left))
            tick()
            undone = []
            for number, task in enumerate(left):
                outcome = self.folder / f"{number}.outcome"
                if outcome.exists():
                    yield task, read(_Outcome, outcome, code="step_failed").failure  # type: ignore[misc]
                else:
                    undone.append(task)
            left = undone
            if not left:
                return
        said = f"{len(left)} shards were not done by {MAX_DEATHS} Slurm arrays; see {self.folder}"
        raise Failure("out_of_memory", said)

    def _submit(self, count: int) -> None:
        """Runs one array to its end."""
        size = min(self.size, count)
        worker = [sys.executable, "-m", "submissions.curation.slurm", str(self.folder), str(count)]
        command = [
            "sbatch", "--wait", "--parsable", f"--array=0-{size - 1}", "--cpus-per-task=1",
            "--job-name=crucible-curate", f"--output={self.folder}/%a.log",
            f"--chdir={Path.cwd()}",
            f"--wrap=exec {shlex.join(worker)} {size}",
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            said = f"sbatch cannot be run: {error.strerror}"
            raise Failure("cluster_unreachable", said) from None
        if done.returncode and not done.stdout.strip():  # with an id, some task of the array failed
            said = f"sbatch refused the array: {done.stderr.strip().partition(chr(10))[0][:300]}"
            raise Failure("cluster_unreachable", said)


def _written(task: StageTask) -> _Task:
    parts = [
        _Part(_shard(p.shard), p.name, str(p.kept) if p.kept else None, str(p.target), p.empty)
        for p in task.parts
    ]
    steps = [(spec.name, spec.use, spec.options.decode()) for spec in task.steps]
    own = [str(path) for path in task.own]
    return _Task(parts, steps, task.before, task.why, task.first, task.last, own, str(task.scratch))


def _shard(shard: Shard) -> _Local | _S3:
    if isinstance(shard, S3Shard):
        return _S3(shard.name, shard.format, shard.bucket, shard.key, shard.size, shard.etag)
    assert isinstance(shard, LocalShard)
    return _Local(shard.name, shard.format, str(shard.path.absolute()))


def _read_back(task: _Task) -> StageTask:
    parts = []
    for part in task.parts:
        one = part.shard
        shard = (
            LocalShard(one.name, one.format, Path(one.path))
            if isinstance(one, _Local)
            else S3Shard(one.name, one.format, one.bucket, one.key, one.size, one.etag)
        )
        kept = Path(part.kept) if part.kept else None
        parts.append(Part(shard, part.name, kept, Path(part.target), part.empty))
    steps = tuple(StepSpec(name, use, options.encode()) for name, use, options in task.steps)
    own = tuple(Path(path) for path in task.own)
    return StageTask(
        tuple(parts), steps, task.before, task.why, task.first, task.last, own, Path(task.scratch)
    )


def main(folder: str, count: str, size: str) -> None:
    """One task of an array: every `size`-th task of the folder."""
    for number in range(int(os.environ["SLURM_ARRAY_TASK_ID"]), int(count), int(size)):
        data = Path(folder, f"{number}.task").read_bytes()
        task = _read_back(decode(_Task, data, code="step_failed", where=f"{number}.task"))
        failure = run_task(task)
        with written_atomically(Path(folder, f"{number}.outcome"), "wb") as file:
            file.write(msgspec.json.encode(_Outcome(failure)))


if __name__ == "__main__":
    main(*sys.argv[1:])
