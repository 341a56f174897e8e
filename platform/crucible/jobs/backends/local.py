"""Runs jobs as detached processes on this machine: they outlive the worker that started them.

There is no list of pids to go stale. A job holds an exclusive `flock` on its directory for as long
as it lives (`submissions.job`), so asking for that lock tells whether it runs, whatever was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from crucible.jobs.backends.base import JobSpec, JobState, JobStatus
from crucible.paths import REPOSITORY
from submissions.job import (
    FAILURE,
    JOB,
    LOCK,
    PROCESS,
    PROGRESS,
    RESULT,
    code_commit,
    write_json_atomically,
)

LOG, LAUNCH = "log.txt", "launch"
START_GRACE = 60.0  # seconds in which a process that was started must have taken its lock
# All that a job sees of our environment: no database address, no secret key, no token.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
             "CRUCIBLE_TOKENIZERS")  # fmt: skip


class LocalBackend:
    """One directory a key below `root`; the directory is the job."""

    name = "local"

    def __init__(self, root: Path, slots: int) -> None:
        self.root = root
        self.slots = slots

    def submit(self, key: str, spec: JobSpec) -> None:
        """Creates the directory and starts the process, each step repeatable after a crash."""
        directory = self.root / key
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / LAUNCH).open("a+") as launch:
            fcntl.flock(launch, fcntl.LOCK_EX)  # two workers on one key: one launches, one adopts
            launch.seek(0)
            if launch.read() or self._running(directory):
                return
            write_json_atomically(directory / JOB, spec.document)
            self._spawn(directory, spec.module)
            launch.write(f"{time.time()}\n")
            launch.flush()
            os.fsync(launch.fileno())

    def find(self, key: str) -> bool:
        directory = self.root / key
        launch = directory / LAUNCH
        return self._running(directory) or (launch.exists() and launch.stat().st_size > 0)

    def status(self, key: str) -> JobStatus:
        directory = self.root / key
        running = self._running(directory)  # asked first: a job that ends meanwhile left its file
        progress = _last_line(directory / PROGRESS)
        heard_at = progress.get("time")
        for name, state in ((RESULT, JobState.SUCCEEDED), (FAILURE, JobState.FAILED)):
            if (directory / name).exists():
                document = json.loads((directory / name).read_text())
                return JobStatus(state, progress, heard_at, document)
        if running:
            return JobStatus(JobState.RUNNING, progress, heard_at)
        if not self.find(key):
            return JobStatus(JobState.UNKNOWN)
        if time.time() - self._launched_at(directory) < START_GRACE and not self._started(
            directory
        ):
            return JobStatus(JobState.RUNNING, progress, heard_at)
        return JobStatus(JobState.LOST, progress, heard_at)

    def logs(self, key: str, limit: int) -> str:
        return _tail(self.root / key / LOG, limit).decode(errors="replace")

    def cancel(self, key: str) -> bool:
        directory = self.root / key
        if not self._running(directory):
            return True
        try:
            group = json.loads((directory / PROCESS).read_text())["group"]
        except (OSError, ValueError, KeyError):
            return False  # it holds the lock but has not said who it is: ask again
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                break
            for _ in range(20):
                if not self._running(directory):
                    return True
                time.sleep(0.1)
        return not self._running(directory)

    def forget(self, key: str) -> None:
        """After `cancel`: the next `submit` starts the job again, under the same key.

        For a stop of the whole installation, which is nobody's failed attempt.
        """
        (self.root / key / PROCESS).unlink(missing_ok=True)
        (self.root / key / LAUNCH).unlink(missing_ok=True)

    def live(self) -> list[str]:
        """The keys of all jobs whose process lives, for whoever shuts the machine down."""
        return [path.name for path in sorted(self.root.glob("*")) if self._running(path)]

    # -- how it is done ---------------------------------------------------------------------------

    def _spawn(self, directory: Path, module: str) -> None:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",  # small models: a second thread costs more than it brings
            "HF_HUB_OFFLINE": "1",
            "CRUCIBLE_COMMIT": code_commit(REPOSITORY),
        }
        with (directory / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(directory)], cwd=REPOSITORY, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        _reap_later(process)

    def _running(self, directory: Path) -> bool:
        """Whether some process holds the job's lock."""
        try:
            descriptor = os.open(directory / LOCK, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _started(self, directory: Path) -> bool:
        return (directory / PROCESS).exists()

    def _launched_at(self, directory: Path) -> float:
        try:
            return float((directory / LAUNCH).read_text() or 0)
        except (OSError, ValueError):
            return 0.0


_children: list[subprocess.Popen[bytes]] = []


def _reap_later(process: subprocess.Popen[bytes]) -> None:
    """Keeps our own children from staying zombies while this worker lives."""
    _children[:] = [child for child in _children if child.poll() is None]
    _children.append(process)


def _tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a file; none of one that is not there yet."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            return file.read()
    except OSError:
        return b""


def _last_line(path: Path, limit: int = 4096) -> dict[str, Any]:
    """The last whole line of a JSON-lines file, or an empty dict."""
    lines = _tail(path, limit).split(b"\n")[:-1]  # what follows the last newline is half-written
    try:
        return json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
