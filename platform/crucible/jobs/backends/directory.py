"""A job's directory as the platform reads it: does the process live, its progress, how it ended.

A job holds an exclusive `flock` on `lock` while it lives (`submissions.job`), so testing that lock
shows whether it runs, whatever was killed. `close` makes a verdict final: it writes a marker while
holding the lock, and a process that takes the lock later sees the marker and exits.

The job wrote what is in the folder, and the data that it read may have taken the job over. So no
link is followed out of the folder, no read waits, and each read is bounded.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from crucible.jobs.backends.base import JobState, JobStatus
from crucible.paths import REPOSITORY
from submissions.codec import MisfitError, decode, decode_or_misfit, to_json
from submissions.failures import Failure, FailureDocument
from submissions.job import (
    CLOSED,
    FAILURE,
    LOCK,
    PROCESS,
    PROGRESS,
    RESULT,
    ResultDocument,
    code_commit,
)

LOG, LAUNCH = "log.txt", "launch"
# The only variables of our environment that a job sees: no database address, secret key or token.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
             "CRUCIBLE_TOKENIZERS")  # fmt: skip
SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link, no wait at a pipe
LARGEST = 64 << 20  # bytes of a document that a job leaves
ENDINGS = ((RESULT, JobState.SUCCEEDED), (FAILURE, JobState.FAILED))
DOCUMENTS: dict[JobState, type[msgspec.Struct]] = {
    JobState.SUCCEEDED: ResultDocument,
    JobState.FAILED: FailureDocument,
}
T = TypeVar("T")


class JobDirectory:
    """`JOBS/<key>`, the whole interface between platform and job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def launch_lock(self) -> Iterator[bool]:
        """One launcher at a time; yields whether an earlier launch was completed."""
        self.path.mkdir(parents=True, exist_ok=True)
        with open_to_write(self.path / f".{LAUNCH}", "ab") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield bool(self.launch_note())

    def launch_note(self) -> str:
        """The note of the launch; empty before it."""
        try:
            return tail(self.path / LAUNCH, 4096).decode(errors="replace").strip()
        except OSError:
            return ""

    @contextlib.contextmanager
    def launching(self) -> Iterator[list[str]]:
        """Notes a launch: the text that the body appends to the list.

        The disk space of the note is allocated first. A full disk then prevents the launch, and not
        the note of a launch that happened.
        """
        with open_to_write(self.path / LAUNCH, "w") as file:
            file.write(" " * 80)
            file.flush()
            os.fsync(file.fileno())
            note: list[str] = []
            yield note
            file.seek(0)
            file.write(" ".join(note).ljust(80))
            file.flush()
            os.fsync(file.fileno())

    def note_launch(self, id: str) -> None:
        """Notes a launch by somebody else, found in the scheduler."""
        with self.launching() as note:
            note.append(id)

    def running(self) -> bool:
        """Whether a process holds the job's lock."""
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDWR | SAFELY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def started(self) -> bool:
        """Whether its process ever took the lock."""
        return PROCESS in self._names()

    def closed(self) -> bool:
        """Whether a verdict was made final."""
        return CLOSED in self._names()

    def close(self) -> bool:
        """Ensures that no process works now or later; False while one does."""
        if not self.path.exists():
            return True
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | SAFELY, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            open_to_write(self.path / CLOSED, "ab").close()
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def ending(self) -> JobStatus | None:
        """The result or failure that the job itself left, if any."""
        names = self._names()
        for name, state in ENDINGS:
            if name in names:
                return self._ended(name, state)
        return None

    def _ended(self, name: str, state: JobState) -> JobStatus:
        """The status by that document; one that cannot be used is a failure of its own."""
        try:
            document = self.read(name, DOCUMENTS[state])
        except Failure as failure:
            return JobStatus(JobState.FAILED, self.progress(), failure.as_dict())
        return JobStatus(state, self.progress(), to_json(document))

    def read(self, name: str, kind: type[T]) -> T:
        """A document of the job as its type.

        Raises `artifact_corrupt` for what is none or is too large, and `OSError` for what is no
        regular file.
        """
        with open_regular(self.path / name) as file:
            content = file.read(LARGEST + 1)
        where = f"{name} of {self.path.name}"
        return decode(kind, content, code="artifact_corrupt", where=where, limit=LARGEST)

    def status_from_folder(self) -> JobStatus | None:
        """The status by the folder alone; None if the scheduler must be asked."""
        ending = self.ending()
        if ending is not None:
            return self.made_final(ending)
        if self.closed():
            return JobStatus(JobState.LOST, self.progress())
        return None if self.path.exists() else JobStatus(JobState.UNKNOWN)

    def made_final(self, verdict: JobStatus) -> JobStatus:
        """The verdict once no process can work any more; `RUNNING` while one can."""
        if verdict.state == JobState.SUCCEEDED:
            return verdict
        if not self.close():
            return JobStatus(JobState.RUNNING, self.progress())
        # The job may have left its result between our two reads.
        return self.ending() or replace(verdict, progress=self.progress())

    def progress(self) -> dict[str, Any]:
        """The last progress line; empty before the first."""
        return last_line(self.path / PROGRESS)

    def log(self, limit: int) -> str:
        """The last `limit` bytes of its output."""
        return tail(self.path / LOG, limit).decode(errors="replace")

    def _names(self) -> set[str]:
        """Lists the folder instead of testing names: opening it makes NFS ask the server again."""
        try:
            return set(os.listdir(self.path))  # noqa: PTH208  (names, not paths)
        except FileNotFoundError:
            return set()


def job_environment() -> dict[str, str]:
    """The environment of every job."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",  # small models: a second thread costs more than it saves
        "HF_HUB_OFFLINE": "1",
        "CRUCIBLE_COMMIT": code_commit(REPOSITORY),
    }


def open_to_write(path: Path, mode: str) -> IO[Any]:
    """Opens or creates a file of a job's folder; a link raises `OSError`."""
    return open(path, mode, opener=_without_links)


def _without_links(path: str | Path, flags: int) -> int:
    return os.open(path, flags | SAFELY, 0o644)


def open_regular(path: Path) -> IO[bytes]:
    """Opens a regular file; a link, pipe or device raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | SAFELY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a file; empty if it does not exist yet."""
    try:
        with open_regular(path) as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            return file.read()
    except OSError:
        return b""


def last_line(path: Path, limit: int = 4096) -> dict[str, Any]:
    """The last whole line of a JSON-lines file, or an empty dict."""
    lines = tail(path, limit).split(b"\n")[:-1]  # the text after the last newline is incomplete
    try:
        return decode_or_misfit(dict[str, Any], lines[-1]) if lines else {}
    except MisfitError:
        return {}
