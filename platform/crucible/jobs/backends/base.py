"""The interface behind which schedulers hide: five calls, all of them safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class JobState(StrEnum):
    """What a backend can say about a key."""

    UNKNOWN = "unknown"  # never submitted here, or forgotten by the scheduler
    RUNNING = "running"  # accepted: waiting for a node or at work
    SUCCEEDED = "succeeded"  # result.json is there
    FAILED = "failed"  # failure.json is there
    LOST = "lost"  # was started, is gone, and left neither


@dataclass(frozen=True)
class JobStatus:
    """State, last progress line, and the document with which the job ended."""

    state: JobState
    progress: dict[str, Any] = field(default_factory=dict)
    heard_at: float | None = None  # seconds since the epoch
    document: dict[str, Any] | None = None  # result.json or failure.json


@dataclass(frozen=True)
class JobSpec:
    """What to run: a stage's module and the content of its job.json."""

    module: str
    document: dict[str, Any]


class Backend(Protocol):
    """A place that runs jobs, which it knows by key."""

    name: str
    slots: int  # how many jobs it takes at once

    def submit(self, key: str, spec: JobSpec) -> None:
        """Starts the job unless a job of this key exists: that one is adopted."""

    def find(self, key: str) -> bool:
        """Whether a job of this key was ever started here."""

    def status(self, key: str) -> JobStatus:
        """How the job does; never raises for a key that is not known."""

    def logs(self, key: str, limit: int) -> str:
        """The last `limit` bytes of what the job printed."""

    def cancel(self, key: str) -> bool:
        """Stops the job with all its processes; True once none is left."""
