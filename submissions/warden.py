"""Runs one job within its limits: `python -m submissions.warden JOB_DIR`, outside of its cage.

Reads `warden.json`, starts the job as a child, looks several times a second at what it uses, and
ends it with the failure's own code when that is too much. Killed itself, it takes the job along.
It holds no lock and knows no database: the job's own files say how it ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from submissions.codec import read
from submissions.failures import Failure
from submissions.job import FAILURE, RESULT, WATCHED_BY, write_json_atomically
from submissions.limits import (
    Limits,
    Usage,
    blamed,
    exceeded,
    memory_of,
    session_members,
    size_of,
)
from submissions.states import Fault

WARDEN = "warden.json"  # written by the backend before each launch
SCRATCH = "tmp"  # in the job's folder: its TMPDIR, gone with it
LOOK = 0.25  # seconds between looks at memory and time
DISK_LOOK = 1.0  # at least, between looks at the disk
DISK_SHARE = 20  # a look at the disk may take one part in so many of the time
READY = 10.0  # seconds within which what runs beside a job must be ready
BEFORE = 25  # seconds for what is prepared outside; a backend allows for them
FIRST_TO_DIE = "500"  # oom_score_adj: short of memory, the kernel ends a job before the site
PR_SET_PDEATHSIG = 1


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What to run and what it may use: the content of `warden.json`."""

    stage: str
    command: list[str]
    environment: dict[str, str]  # besides that of the warden
    limits: Limits
    folders: list[str]  # what counts as its disk, besides the job's own folder
    before: list[str]  # a command of ours that gets ready what the job may only read; may be empty
    beside: list[str] = []  # one that runs outside of the cage as long as the job; may be empty
    ready: str = ""  # the file by which that shows that it is ready


def main(arguments: list[str] | None = None) -> int:
    """Runs the job of the folder that is named; its exit code, or 1 or 3 for a limit."""
    (name,) = sys.argv[1:] if arguments is None else arguments
    if os.getsid(0) != os.getpid():
        os.setsid()  # what is left of the job at its end is ended by its session: not somebody's
    directory = Path(name).resolve()
    watch = read(Watch, directory / WARDEN, code="internal_error")
    scratch = directory / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        if watch.before:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run([*watch.before, str(scratch)], check=False,
                               stdin=subprocess.DEVNULL, timeout=BEFORE)  # fmt: skip
        return _watched(directory, watch)
    finally:
        _end_all()
        shutil.rmtree(scratch, ignore_errors=True)


def _watched(directory: Path, watch: Watch) -> int:
    """Starts the job and looks at it until it is over."""
    if watch.beside:
        _start_beside(watch)
    began = time.monotonic()
    child = subprocess.Popen(
        watch.command, stdin=subprocess.DEVNULL, preexec_fn=lambda: _become_the_job(watch.limits),
        env=os.environ | watch.environment | {WATCHED_BY: str(os.getpid())},
    )  # fmt: skip
    disk = _Disk([directory, *map(Path, watch.folders)])
    spent = 0.0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(LOOK)
        members = [m for m in session_members(os.getsid(0)) if m[0] != os.getpid()]
        spent = max(spent, sum(seconds for *_, seconds in members))
        usage = Usage(
            memory_of((pid for pid, *_ in members), watch.limits.memory_bytes),
            spent, time.monotonic() - began, disk.size(),
        )  # fmt: skip
        failure = exceeded(watch.limits, usage)
        if failure is not None:
            return _ended(directory, blamed(failure, watch.stage, usage))


def _start_beside(watch: Watch) -> None:
    """Starts it in our session: it ends with the job, and its memory and time are the job's."""
    process = subprocess.Popen(
        watch.beside, stdin=subprocess.DEVNULL, preexec_fn=lambda: _become_the_job(Limits())
    )
    end = time.monotonic() + READY
    while not Path(watch.ready).exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)


def _ended(directory: Path, failure: Failure) -> int:
    """Ends the job for this reason, which is written while the job is stopped but holds its lock.

    Whoever asks for its state then never sees a job that is gone without a word. One that has just
    written its result keeps it.
    """
    _signal_all(signal.SIGSTOP)
    if not (directory / RESULT).exists():
        print(f"ended by its warden: {failure.message}", file=sys.stderr)
        with contextlib.suppress(OSError):  # a full disk: it counts as lost
            write_json_atomically(directory / FAILURE, failure.document)
    _end_all()
    return 1 if failure.fault == Fault.PARTICIPANT else 3


def _become_the_job(limits: Limits) -> None:
    """In the child, before it becomes the job."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_DIE)
    limits.set_in_this_process()


def _signal_all(number: int) -> int:
    """Sends a signal to every process of our session but us; how many live."""
    pids = [
        pid
        for pid, state, _ in session_members(os.getsid(0))
        if pid != os.getpid() and state not in "ZX"
    ]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return len(pids)


def _end_all() -> None:
    """Until nothing is left: what forks while it is killed is found at the next look."""
    for _ in range(500):
        if not _signal_all(signal.SIGKILL):
            return
        time.sleep(0.02)


class _Disk:
    """The size of some folders, not looked at more often than is cheap."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders
        self.last, self.next_at = 0, 0.0

    def size(self) -> int:
        """Bytes, up to a second old; older where the look takes long."""
        began = time.monotonic()
        if began >= self.next_at:
            self.last = size_of(self.folders)
            took = time.monotonic() - began
            self.next_at = began + max(DISK_LOOK, DISK_SHARE * took)
        return self.last


if __name__ == "__main__":
    sys.exit(main())
