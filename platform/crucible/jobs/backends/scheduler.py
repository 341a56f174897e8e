"""Slurm's commands sbatch, squeue and scancel, each with a time limit, and their parsed answers.

A job is recognised by its name (the key) together with its comment (the job's folder, which no
other installation has), never by its id: a controller that crashed reuses the ids of jobs that it
lost (measured with Slurm 22.05).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crucible.jobs.backends.base import BackendAway
from crucible.jobs.backends.directory import PASSED_ON

TIMEOUT = 6.0  # seconds for one command: two of them fit into a task's soft limit
KEPT = 2.0  # seconds for which one answer about all jobs is cached
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "TIMEOUT",
}  # fmt: skip
FORMAT = "%i|%T|%r|%j|%k"  # id, state, reason, name, comment; the last may hold anything
# Messages of a controller that is away, overloaded or at a temporary limit. Others are refusals.
PASSING = (
    "unable to contact slurm controller", "timed out", "connection refused", "connection reset",
    "connection failure", "temporarily", "zero bytes", "communication", "try again",
    "job submit limit", "munge", "protocol authentication", "invalid authentication", "slurmctld",
    "no space left", "transport endpoint",
)  # fmt: skip


@dataclass(frozen=True)
class SlurmJob:
    """One job as Slurm reports it."""

    id: str
    state: str
    reason: str
    name: str
    comment: str

    @property
    def ended(self) -> bool:
        """Whether Slurm reports that it is over."""
        return self.state in ENDED

    @property
    def is_held_after_launch_failures(self) -> bool:
        """Whether a node failed to start it, so that Slurm holds it until an administrator acts.

        After a crash of the controller this happens to jobs with the id of one that still runs.
        """
        return self.reason.replace("_", " ").lower() == "launch failed requeued held"


class Refused(Exception):
    """Slurm will not accept such a job, now or later."""


class Scheduler:
    """The commands on PATH, for the user who runs this process."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self._entries: list[SlurmJob] = []
        self._asked_at = float("-inf")  # monotonic seconds

    def submit(self, script: Path, options: Sequence[str]) -> str:
        """Returns the job's id. Raises `Refused`, or `BackendAway` if the outcome is unknown."""
        self._asked_at = float("-inf")
        try:
            done = self._run("sbatch", "--parsable", *options, str(script))
        except subprocess.TimeoutExpired as error:
            raise BackendAway(f"sbatch did not answer within {self.timeout:.0f} s") from error
        if done.returncode == 0:
            return done.stdout.strip().split(";")[0]
        text = _last_line(done.stderr) or f"sbatch ended with {done.returncode}"
        if done.returncode < 0 or any(word in done.stderr.lower() for word in PASSING):
            raise BackendAway(text)
        raise Refused(text)

    def entries(self, name: str, comment: str, kept: float = 0.0) -> list[SlurmJob]:
        """The jobs of this name and comment, oldest first; an answer up to `kept` seconds old."""
        fresh = time.monotonic() - self._asked_at <= kept
        entries = self._entries if fresh else self._ask()
        return [entry for entry in entries if (entry.name, entry.comment) == (name, comment)]

    def cancel(self, name: str, ids: Sequence[str]) -> None:
        """Cancels those of `ids` that have this name."""
        if not ids:
            return
        self._asked_at = float("-inf")
        try:
            self._run("scancel", f"--name={name}", *ids)
        except subprocess.TimeoutExpired as error:
            raise BackendAway("scancel did not answer") from error

    def _ask(self) -> list[SlurmJob]:
        asked_at = time.monotonic()
        command = (
            "squeue",
            "--me",
            "--noheader",
            "--states=all",
            "--sort=V,i",
            f"--format={FORMAT}",
        )
        try:
            done = self._run(*command)
        except subprocess.TimeoutExpired as error:
            raise BackendAway(f"squeue did not answer within {self.timeout:.0f} s") from error
        if done.returncode:
            raise BackendAway(_last_line(done.stderr) or f"squeue ended with {done.returncode}")
        lines = [line.split("|", 4) for line in done.stdout.splitlines()]
        entries = [SlurmJob(*fields) for fields in lines if len(fields) == 5]
        self._entries, self._asked_at = entries, asked_at
        return entries

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs without our environment: sbatch would pass all of it, with secrets, to the job."""
        names = (*PASSED_ON, "SLURM_CONF")
        environment = {name: os.environ[name] for name in names if name in os.environ}
        try:
            return subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=self.timeout,
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
                cwd="/",
            )
        except FileNotFoundError as error:
            raise BackendAway(f"{command[0]} is not installed on this machine") from error


def _last_line(text: str) -> str:
    """Where a scheduler's command says what was wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: error: ")[:300] if lines else ""
