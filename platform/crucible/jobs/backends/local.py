"""Runs jobs as detached processes on this machine: they outlive the worker that started them.

There is no list of pids: the lock of a job shows whether it lives (`directory.py`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from crucible.jobs.backends.base import JobSpec, JobState, JobStatus
from crucible.jobs.backends.cage import Cage
from crucible.jobs.backends.directory import (
    LAUNCH,
    LOG,
    JobDirectory,
    job_environment,
    open_to_write,
)
from crucible.paths import REPOSITORY
from submissions.failures import Failure
from submissions.fetcher import SOCKET
from submissions.job import (
    CLOSED,
    JOB,
    PROCESS,
    ProcessDocument,
    path_of_uri,
    write_json_atomically,
)
from submissions.limits import Limits
from submissions.references import FETCHER
from submissions.warden import BEFORE, SCRATCH, WARDEN, Watch

START_GRACE = 60.0 + BEFORE  # seconds within which a started process must take its lock
LimitsOf = Callable[[str, str], Limits]  # of a stage and a scale


def _no_limits(stage: str, scale: str) -> Limits:
    return Limits()


class LocalBackend:
    """One directory for each key below `root`; the directory is the job.

    Beside each job runs a process, its warden, that holds it to its limits. Where there is a cage,
    the job runs inside it and the warden outside.
    """

    name = "local"

    def __init__(
        self, root: Path, slots: int, limits_of: LimitsOf = _no_limits, cage: Cage | None = None
    ) -> None:
        self.root = root
        self.slots = slots
        self.limits_of = limits_of
        self.cage = cage

    def submit(self, key: str, spec: JobSpec) -> None:
        """Creates the directory and starts the process; each step is repeatable after a crash."""
        job = self._job(key)
        with (
            job.launch_lock() as launched
        ):  # of two workers with one key, one launches and one adopts
            if launched or job.running() or job.closed():
                return
            write_json_atomically(job.path / JOB, spec.document)
            with job.launching() as note:
                self._spawn(job.path, spec)
                note.append(f"{time.time()}")

    def status(self, key: str) -> JobStatus:
        job = self._job(key)
        running = job.running()  # read first: a job that ends after this has left its file
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
        if job.close():  # nothing runs; a process that is just starting will exit
            return True
        try:
            group = job.read(PROCESS, ProcessDocument).group
        except (OSError, Failure):
            return False  # it holds the lock but has not written its process group yet: ask again
        if not _works_for(group, job.path):
            return False  # the job wrote that file: it may name the group of somebody else
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                break
            for _ in range(20):
                if job.close():
                    _kill_group(group)
                    return True
                time.sleep(0.1)
        return job.close()

    def forget(self, key: str) -> None:
        """After `cancel`: the next `submit` starts the job again, under the same key.

        For a stop of the whole installation, which does not count as a failed attempt.
        """
        for name in (PROCESS, LAUNCH, CLOSED):
            (self.root / key / name).unlink(missing_ok=True)

    def live(self) -> list[str]:
        """The keys of all jobs whose process lives, for `make down`."""
        return [path.name for path in sorted(self.root.glob("*")) if JobDirectory(path).running()]

    # -- how it is done ---------------------------------------------------------------------------

    def _job(self, key: str) -> JobDirectory:
        return JobDirectory(self.root / key)

    def _spawn(self, directory: Path, spec: JobSpec) -> None:
        write_json_atomically(directory / WARDEN, self._watch(directory, spec))
        with open_to_write(directory / LOG, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "submissions.warden", str(directory)],
                cwd=REPOSITORY,
                env=job_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _reap_later(process)

    def _watch(self, directory: Path, spec: JobSpec) -> Watch:
        """What the warden has to run and to watch."""
        stage = spec.document["stage"]
        environment = {"TMPDIR": str(directory / SCRATCH)}
        prefix: list[str] = []
        if self.cage is not None:
            prefix, environment = self.cage.prefix(directory, spec), self.cage.environment()
        beside, ready = [], ""
        if spec.access is not None:  # it has no network in its cage; outside, one way for both
            manifest = path_of_uri(spec.document["inputs"]["dataset"]["uri"])
            ready = str(directory / SCRATCH / SOCKET)
            beside = [sys.executable, "-m", "submissions.fetcher", str(manifest), str(spec.access),
                      ready]  # fmt: skip
            environment[FETCHER] = ready
        return Watch(
            stage=stage,
            command=[*prefix, sys.executable, "-m", spec.module, str(directory)],
            environment=environment,
            limits=self.limits_of(stage, spec.scale),
            folders=[str(path_of_uri(spec.document["output"]))],
            before=self.cage.before(spec) if self.cage else [],
            beside=beside,
            ready=ready,
        )

    def _launched_at(self, job: JobDirectory) -> float:
        try:
            return float(job.launch_note())
        except ValueError:
            return 0.0


def _kill_group(group: int) -> None:
    """Kills and awaits children that ignored SIGTERM, of a job whose own process has just ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for _ in range(100):
        if not _lives(group):
            return
        time.sleep(0.02)


def _lives(group: int) -> bool:
    """Whether a process of the group lives; zombies do not count."""
    return any(True for _ in _members(group))


def _works_for(group: int, directory: Path) -> bool:
    """Whether a process of the group was started with that directory: a warden, or a stage."""
    name = str(directory).encode()
    for member in _members(group):
        with contextlib.suppress(OSError):
            if name in (member / "cmdline").read_bytes().split(b"\0"):
                return True
    return False


def _members(group: int) -> Iterator[Path]:
    """The folder below /proc of each process of the group; zombies do not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
            if int(its_group) == group and state not in "ZX":
                yield stat.parent


_children: list[subprocess.Popen[bytes]] = []


def _reap_later(process: subprocess.Popen[bytes]) -> None:
    """Keeps a reference to our children, so that they are reaped and do not stay zombies."""
    _children[:] = [child for child in _children if child.poll() is None]
    _children.append(process)
