"""Health checks of the platform, each with its limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Min
from django.utils import timezone

from crucible.entries.models import Submission
from crucible.jobs.models import Attempt, AttemptState, Beat, Lane
from crucible.jobs.reconciler import RECONCILER, SENDER
from submissions.states import TERMINAL

BEAT_LATE = 60.0  # seconds since a service's last heartbeat
DUE_LATE = 120.0  # seconds by which a step is overdue
SILENT = 3600.0  # seconds since a running job's last heartbeat


@dataclass(frozen=True)
class Check:
    """One measurement of the platform in seconds, with its limit."""

    name: str
    question: str
    seconds: float | None
    limit: float

    @property
    def ok(self) -> bool:
        return self.seconds is None or self.seconds <= self.limit


def _age(moment: datetime | None) -> float | None:
    return None if moment is None else max(0.0, (timezone.now() - moment).total_seconds())


def _oldest(queryset: Any, field: str) -> float | None:
    """The age of the oldest row, in seconds; None without rows."""
    return _age(queryset.aggregate(oldest=Min(field))["oldest"])


def _unheld() -> Any:
    """Queued attempts, without held submissions and held queues."""
    queued = Attempt.objects.filter(state=AttemptState.QUEUED, submission__held_for="")
    for lane in Lane.objects.filter(held=True):
        queued = queued.exclude(backend=lane.backend, submission__scale=lane.scale)
    return queued


def _beat(name: str, question: str) -> Check:
    beat = Beat.objects.filter(name=name).first()
    return Check(name, question, _age(beat.at) if beat else BEAT_LATE + 1, BEAT_LATE)


def health_checks() -> list[Check]:
    """All health checks with their limits."""
    open_ones = Submission.objects.exclude(state__in=TERMINAL)
    overdue = open_ones.filter(due_at__lt=timezone.now() - timedelta(seconds=1))
    running = Attempt.objects.filter(state=AttemptState.RUNNING)
    return [
        _beat(RECONCILER, "time since the reconciler's last heartbeat"),
        _beat(SENDER, "time since the last heartbeat of the sender of mail and webhooks"),
        Check(
            "overdue", "longest delay of a step that is due", _oldest(overdue, "due_at"), DUE_LATE
        ),
        Check(
            "waiting",
            "longest wait for a slot",
            _oldest(_unheld(), "created_at"),
            settings.CRUCIBLE_ALERT_WAITING,
        ),
        Check(
            "silent",
            "longest time since a running job's last heartbeat",
            _oldest(running, "heard_at"),
            SILENT,
        ),
    ]
