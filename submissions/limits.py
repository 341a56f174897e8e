"""What a job may use: the limits themselves, and how much of each it has used.

The kernel holds open files, the size of a file and the CPU time of one process (`setrlimit`).
Memory, CPU time and disk of the whole job are measured. Of memory that is what its processes really
hold. RLIMIT_AS and RLIMIT_DATA hold for one process each and know nothing of those beside it, and
they count what is reserved: training at `smoke` held 0.40 of 0.99 GB, and CUDA reserves far more.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from submissions.failures import EXCEEDED, FAILURES, Failure
from submissions.states import Fault, Stage

TICKS = os.sysconf("SC_CLK_TCK")
BLOCK = 512  # bytes, of `st_blocks`
# What a job of these reads is the participant's data and nothing else.
DATA_STAGES = frozenset({Stage.VALIDATE, Stage.SCAN, Stage.PROFILE, Stage.TOKENIZE})
KERNEL_GRACE = 60  # CPU seconds after which the kernel ends a process that the watcher did not


class Limits(msgspec.Struct, frozen=True):
    """Of one job, all its processes together; None: as much as there is."""

    memory_bytes: int | None = None
    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    open_files: int | None = None  # of each process
    file_bytes: int | None = None  # of each file
    disk_bytes: int | None = None  # of the job's folder and what it makes

    def set_in_this_process(self) -> None:
        """Asks the kernel to hold what it can, for this process and its children; never raises."""
        _lower(resource.RLIMIT_CORE, 0)  # a dump would hold the data, and fill the disk
        if self.open_files is not None:
            _lower(resource.RLIMIT_NOFILE, self.open_files)
        if self.file_bytes is not None:
            _lower(resource.RLIMIT_FSIZE, self.file_bytes)
        if self.cpu_seconds is not None:
            _lower(resource.RLIMIT_CPU, int(self.cpu_seconds) + KERNEL_GRACE)


@dataclass(frozen=True)
class Usage:
    """What a job uses now; CPU seconds and wall-clock seconds since its start."""

    memory_bytes: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    disk_bytes: int = 0


def exceeded(limits: Limits, usage: Usage) -> Failure | None:
    """The first limit that the job is beyond, as a failure."""
    if limits.memory_bytes is not None and usage.memory_bytes > limits.memory_bytes:
        return Failure(
            "memory_exceeded",
            f"the job held {_gib(usage.memory_bytes)} of memory; it may have "
            f"{_gib(limits.memory_bytes)}",
        )
    if limits.disk_bytes is not None and usage.disk_bytes > limits.disk_bytes:
        return Failure(
            "disk_exceeded",
            f"the job wrote {_gib(usage.disk_bytes)} to the disk; it may write "
            f"{_gib(limits.disk_bytes)}",
        )
    if limits.cpu_seconds is not None and usage.cpu_seconds > limits.cpu_seconds:
        return Failure(
            "cpu_time_exceeded",
            f"the job took {usage.cpu_seconds:,.0f} s of CPU time; it may take "
            f"{limits.cpu_seconds:,.0f} s",
        )
    if limits.wall_seconds is not None and usage.wall_seconds > limits.wall_seconds:
        return Failure(
            "time_exceeded",
            f"the job ran for {usage.wall_seconds:,.0f} s, {usage.cpu_seconds:,.0f} s of CPU time "
            f"among them; it may run for {limits.wall_seconds:,.0f} s",
        )
    return None


def blamed(failure: Failure, stage: str, usage: Usage) -> Failure:
    """The failure with the fault of whoever caused it.

    In a stage that reads the participant's data, its amount or its form did; but a job that ran out
    of wall-clock time while it had less than half of one core waited for a slow machine.
    """
    waited = failure.code == "time_exceeded" and usage.cpu_seconds < usage.wall_seconds / 2
    if failure.code in EXCEEDED and stage in DATA_STAGES and not waited:
        failure.fault = Fault.PARTICIPANT
        failure.next_step = EXCEEDED[failure.code]
    else:
        failure.next_step = FAILURES[failure.code].next_step
    return failure


def session_members(session: int) -> Iterator[tuple[int, str, float]]:
    """Pid, state and CPU seconds of each process of a session, of its ended children too."""
    for name in os.listdir("/proc"):  # noqa: PTH208  (several times a second: names are enough)
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rsplit(b")", 1)[1].split()
            if int(fields[3]) == session:
                yield int(name), fields[0].decode(), sum(map(int, fields[11:15])) / TICKS


def memory_of(pids: Iterable[int], limit: int | None) -> int:
    """Bytes of memory that cannot be had back without these processes.

    Anonymous and shared memory; files that are only mapped can be dropped by the kernel at any
    time. What several processes share counts once, which the kernel adds up slowly: only where the
    quick sum is beyond the limit.
    """
    pids = list(pids)
    quick = sum(_fields(f"/proc/{pid}/status", ("RssAnon", "RssShmem")) for pid in pids)
    if limit is None or quick <= limit:
        return quick
    return sum(_fields(f"/proc/{pid}/smaps_rollup", ("Pss_Anon", "Pss_Shmem")) for pid in pids)


def size_of(folders: Iterable[Path]) -> int:
    """Bytes that the folders take on the disk; what vanishes meanwhile counts nothing."""
    return sum(entry.stat(follow_symlinks=False).st_blocks * BLOCK for entry in _entries(folders))


def _entries(folders: Iterable[Path]) -> Iterator[os.DirEntry[str]]:
    left = [str(folder) for folder in folders]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    entry.stat(follow_symlinks=False)  # kept in the entry
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)


def _fields(path: str, names: tuple[str, ...]) -> int:
    """The sum of these lines of a file of /proc, in bytes; 0 for a process that has ended."""
    total = 0
    with contextlib.suppress(OSError), open(path) as file:  # noqa: PTH123  (as above)
        for line in file:
            name, _, value = line.partition(":")
            if name in names:
                total += int(value.split()[0]) * 1024
    return total


def _lower(which: int, value: int) -> None:
    """Sets both limits, never above the one that is already there."""
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(which, (value, value))


def _gib(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB"
