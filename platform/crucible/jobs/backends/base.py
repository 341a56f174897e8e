"""The interface of all backends: four calls, each safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol


class JobState(StrEnum):
    """What a backend can report about a key."""

    UNKNOWN = "unknown"  # never submitted here, or forgotten by the scheduler before it ran
    RUNNING = "running"  # accepted: it waits for a node or runs
    SUCCEEDED = "succeeded"  # result.json is there
    FAILED = "failed"  # failure.json is there, or the scheduler gives the reason
    LOST = "lost"  # started, ended, and left neither


class BackendAway(Exception):
    """The scheduler does not answer now. This is no verdict on a job: ask again later."""


@dataclass(frozen=True)
class JobStatus:
    """State, last progress line, and the document with which the job ended."""

    state: JobState
    progress: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] | None = None  # result.json or failure.json
    note: str = ""  # the scheduler's reason why a job waits


@dataclass(frozen=True)
class JobSpec:
    """What to run: a stage's module and the content of its job.json; the scale selects the rule."""

    module: str
    document: dict[str, Any]
    scale: str = ""
    access: Path | None = None  # what it may read by reference (submissions.store_access)


class Backend(Protocol):
    """Runs jobs and identifies them by key.

    Any call may raise `BackendAway`. A verdict is final: after FAILED, LOST or a `cancel` that
    returned True, no process of this key lives, and one that a scheduler starts later exits at
    once. The next attempt has the output folder to itself.
    """

    name: str

    @property
    def slots(self) -> int:
        """How many jobs it accepts at once."""

    def submit(self, key: str, spec: JobSpec) -> None:
        """Starts the job, or adopts an existing job of this key.

        Raises `Failure` (`launch_refused`) if the scheduler will never accept it.
        """

    def status(self, key: str) -> JobStatus:
        """The state of the job; UNKNOWN for a key that was never submitted."""

    def logs(self, key: str, limit: int) -> str:
        """The last `limit` bytes of the job's output."""

    def cancel(self, key: str) -> bool:
        """Stops the job with all its processes; True once none is left and none will start."""
