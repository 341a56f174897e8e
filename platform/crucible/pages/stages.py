"""Reads the state of a submission's stages, for pages and for the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from crucible.entries.models import Submission
from crucible.filters import duration
from crucible.jobs.backends import backend_get
from crucible.jobs.backends.base import BackendAway
from crucible.jobs.models import Attempt, AttemptState
from crucible.jobs.queue import position_of
from crucible.redaction import redact
from submissions.names import visible
from submissions.states import Stage, State

LOG_TAIL = 8_000  # bytes shown of a stage's log
LAST_LINES = 5  # shown of a running one


@dataclass(frozen=True)
class StageView:
    """One stage of one submission as pages show it: its latest attempt, or none."""

    stage: Stage
    attempt: Attempt | None
    over: bool  # nothing more happens to the submission
    log_tail: str = ""

    @property
    def state(self) -> str:
        """The attempt's state; without one `waiting`, or `not run` if none will come."""
        if self.attempt is not None:
            return self.attempt.state
        return "not run" if self.over else "waiting"

    @property
    def progress(self) -> dict[str, Any]:
        return self.attempt.progress if self.attempt else {}

    @property
    def percent(self) -> int | None:
        """Progress from 0 to 100; None if the total is not known."""
        if self.state == AttemptState.SUCCEEDED:
            return 100
        of = self.progress.get("of")
        return round(100 * self.progress["step"] / of) if of else None

    @property
    def metrics(self) -> dict[str, float]:
        """Figures beside the progress bar, without the time left."""
        metrics: dict[str, float] = self.progress.get("metrics", {})
        return {name: value for name, value in metrics.items() if name != "eta_seconds"}

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left, as the running job estimates them."""
        if self.state != AttemptState.RUNNING:
            return None
        eta: float | None = self.progress.get("metrics", {}).get("eta_seconds")
        return eta

    @property
    def heard_seconds(self) -> float | None:
        """Seconds since the job's last heartbeat."""
        if self.attempt is None or self.attempt.heard_at is None:
            return None
        return max(0.0, (timezone.now() - self.attempt.heard_at).total_seconds())

    @property
    def seconds(self) -> float | None:
        """Seconds that it has run, or ran."""
        return _seconds_of(self.attempt) if self.attempt else None


def _seconds_of(attempt: Attempt) -> float | None:
    if attempt.launched_at is None:
        return None
    return ((attempt.finished_at or timezone.now()) - attempt.launched_at).total_seconds()


def stages_of(submission: Submission, with_logs: bool = False) -> list[StageView]:
    """All stages in order, each with its latest attempt and, `with_logs`, the end of its log."""
    latest = {attempt.stage: attempt for attempt in submission.attempts.all()}  # by their number
    over = submission.is_over
    return [
        # While a submission runs, its page is fetched every two seconds: only the last lines then.
        StageView(stage, attempt, over, _shown_log(attempt, over) if attempt and with_logs else "")
        for stage in Stage
        for attempt in [latest.get(stage)]
    ]


def _shown_log(attempt: Attempt, over: bool) -> str:
    if over:
        return log_tail(attempt)
    if attempt.state != AttemptState.RUNNING:
        return ""
    return "\n".join(log_tail(attempt, LAST_LINES * 200).splitlines()[-LAST_LINES:])


def log_tail(attempt: Attempt, limit: int = LOG_TAIL) -> str:
    """The end of a job's output, without secrets; what cannot be seen is shown by its code."""
    if attempt.launched_at is None:
        return ""
    try:
        return visible(redact(backend_get(attempt.backend).logs(attempt.key, limit)))
    except BackendAway as away:
        return f"({away})"


def waiting_for(submission: Submission) -> str:
    """What it waits for, in words; in the queue also its position and the forecast of its start."""
    if submission.is_over:
        return ""
    in_queue = [
        attempt
        for attempt in submission.attempts.all()
        if attempt.state == AttemptState.QUEUED
        # The chain waits for the scan only at its end, and never for the profile.
        and attempt.stage != Stage.PROFILE
        and (attempt.stage != Stage.SCAN or submission.state == State.REVIEWING)
    ]
    if not in_queue or submission.state == State.CANCELLING:
        return submission.waiting_for
    queued = in_queue[-1]
    if submission.held_for:
        return f"an organiser to release it: {submission.held_for}"
    position = position_of(queued, submission.scale)
    if position is None:
        return f"an organiser, who holds the queue of {submission.scale}"
    when = "" if position.seconds is None else f", starts in about {duration(position.seconds)}"
    return (
        f"a free slot: position {position.number} of {position.of} in the queue of"
        f" {submission.scale} on {queued.backend}{when}"
    )


@dataclass(frozen=True)
class Spent:
    """What all attempts of a submission have used so far, running ones included."""

    seconds: float
    gpu_hours: float


def spent_on(submission: Submission) -> Spent:
    """The time of every attempt, lost and failed ones too; GPU-hours of those that report GPUs."""
    seconds = gpu_seconds = 0.0
    for attempt in submission.attempts.all():
        took = _seconds_of(attempt)
        if took is None:
            continue
        seconds += took
        result = attempt.result_document
        gpus = len(result.hardware.gpus) if result else 0
        gpu_seconds += took * (gpus or attempt.progress.get("metrics", {}).get("gpus", 0))
    return Spent(seconds, gpu_seconds / 3600)
