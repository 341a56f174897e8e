"""The interface behind which schedulers hide: four calls, all of them safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class JobState(StrEnum):
    """What a backend can say about a key."""

    UNKNOWN = "unknown"  # never submitted here, or forgotten by the scheduler before it ran
    RUNNING = "running"  # accepted: waiting for a node or at work
    SUCCEEDED = "succeeded"  # result.json is there
    FAILED = "failed"  # failure.json is there, or the scheduler says what ended it
    LOST = "lost"  # was started, is gone, and left neither


class BackendAway(Exception):
    """The scheduler cannot be asked now. That is no verdict on a job: ask again later."""


@dataclass(frozen=True)
class JobStatus:
    """State, last progress line, and the document with which the job ended."""

    state: JobState
    progress: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] | None = None  # result.json or failure.json
    note: str = ""  # what the scheduler says a waiting job waits for


@dataclass(frozen=True)
class JobSpec:
    """What to run: a stage's module and the content of its job.json; the scale sizes it."""

    module: str
    document: dict[str, Any]
    scale: str = ""


class Backend(Protocol):
    """A place that runs jobs, which it knows by key.

    Any call may raise `BackendAway`. A verdict is final: after FAILED, LOST or a `cancel` that
    returned True, no process of this key is alive and none that a scheduler starts later does
    anything, so that the next attempt has the output folder to itself.
    """

    name: str

    @property
    def slots(self) -> int:
        """How many jobs it takes at once."""

    def submit(self, key: str, spec: JobSpec) -> None:
        """Starts the job unless a job of this key exists: that one is adopted.

        Raises `Failure` (`launch_refused`) when the scheduler will never take it.
        """

    def status(self, key: str) -> JobStatus:
        """How the job does; UNKNOWN for a key that was never submitted."""

    def logs(self, key: str, limit: int) -> str:
        """The last `limit` bytes of what the job printed."""

    def cancel(self, key: str) -> bool:
        """Stops the job with all its processes; True once none is left and none will come."""
