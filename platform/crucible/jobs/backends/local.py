"""Runs jobs as detached processes on this machine: they outlive the worker that started them.

There is no list of pids to go stale: whether a job lives, its lock tells (`directory.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from crucible.jobs.backends.base import JobSpec, JobState, JobStatus
from crucible.jobs.backends.directory import LAUNCH, LOG, JobDirectory, job_environment
from crucible.paths import REPOSITORY
from submissions.job import CLOSED, JOB, PROCESS, write_json_atomically

START_GRACE = 60.0  # seconds in which a process that was started must have taken its lock


class LocalBackend:
    """One directory a key below `root`; the directory is the job."""

    name = "local"

    def __init__(self, root: Path, slots: int) -> None:
        self.root = root
        self.slots = slots

    def submit(self, key: str, spec: JobSpec) -> None:
        """Creates the directory and starts the process, each step repeatable after a crash."""
        job = self._job(key)
        with job.turn() as launched:  # two workers on one key: one launches, one adopts
            if launched or job.running() or job.closed():
                return
            write_json_atomically(job.path / JOB, spec.document)
            with job.launching() as note:
                self._spawn(job.path, spec.module)
                note.append(f"{time.time()}")

    def status(self, key: str) -> JobStatus:
        job = self._job(key)
        running = job.running()  # asked first: a job that ends meanwhile left its file
        ending = job.ending()
        if ending is not None:
            if ending.state == JobState.FAILED and not job.close():
                return JobStatus(JobState.RUNNING, job.progress())
            return ending
        if running:
            return JobStatus(JobState.RUNNING, job.progress())
        if job.closed():
            return JobStatus(JobState.LOST, job.progress())
        if not (job.running() or job.launch_note()):
            return JobStatus(JobState.UNKNOWN)
        if not job.started() and 0 <= time.time() - self._launched_at(job) < START_GRACE:
            return JobStatus(JobState.RUNNING, job.progress())
        if not job.close():  # it took its lock just now
            return JobStatus(JobState.RUNNING, job.progress())
        return job.ending() or JobStatus(JobState.LOST, job.progress())

    def logs(self, key: str, limit: int) -> str:
        return self._job(key).log(limit)

    def cancel(self, key: str) -> bool:
        job = self._job(key)
        if job.close():  # nothing runs; a process that is just starting will leave by itself
            return True
        try:
            group = json.loads((job.path / PROCESS).read_text())["group"]
        except (OSError, ValueError, KeyError):
            return False  # it holds the lock but has not said who it is: ask again
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                break
            for _ in range(20):
                if job.close():
                    _kill_what_is_left(group)
                    return True
                time.sleep(0.1)
        return job.close()

    def forget(self, key: str) -> None:
        """After `cancel`: the next `submit` starts the job again, under the same key.

        For a stop of the whole installation, which is nobody's failed attempt.
        """
        for name in (PROCESS, LAUNCH, CLOSED):
            (self.root / key / name).unlink(missing_ok=True)

    def live(self) -> list[str]:
        """The keys of all jobs whose process lives, for whoever shuts the machine down."""
        return [path.name for path in sorted(self.root.glob("*")) if JobDirectory(path).running()]

    # -- how it is done ---------------------------------------------------------------------------

    def _job(self, key: str) -> JobDirectory:
        return JobDirectory(self.root / key)

    def _spawn(self, directory: Path, module: str) -> None:
        with (directory / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(directory)], cwd=REPOSITORY,
                env=job_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        _reap_later(process)

    def _launched_at(self, job: JobDirectory) -> float:
        try:
            return float(job.launch_note())
        except ValueError:
            return 0.0


def _kill_what_is_left(group: int) -> None:
    """Children that did not listen, of a job whose own process has just ended; waits for them."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for _ in range(100):
        if not _lives(group):
            return
        time.sleep(0.02)


def _lives(group: int) -> bool:
    """Whether a process of the group is there that is not only waiting to be reaped."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False


_children: list[subprocess.Popen[bytes]] = []


def _reap_later(process: subprocess.Popen[bytes]) -> None:
    """Keeps our own children from staying zombies while this worker lives."""
    _children[:] = [child for child in _children if child.poll() is None]
    _children.append(process)
