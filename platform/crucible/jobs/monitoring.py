"""How the platform itself does: a verdict for people and alarms, and figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q, Sum
from django.utils import timezone

from crucible.budgets.models import Allowance
from crucible.entries.models import Submission
from crucible.entries.states import TERMINAL
from crucible.jobs.backends import backend_get
from crucible.jobs.models import OCCUPYING, Attempt, AttemptState, Beat, Lane
from crucible.jobs.reconciler import RECONCILER
from crucible.notifications.models import Notice

BEAT_LATE = 60.0  # seconds without a sign of the reconciler
DUE_LATE = 120.0  # seconds that a step which is due was not taken
SILENT = 3600.0  # seconds without a sign of a running job


@dataclass(frozen=True)
class Check:
    """One question about the platform: what is measured, in seconds, and how much is too much."""

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
    """Queued attempts that nobody holds back on purpose."""
    queued = Attempt.objects.filter(state=AttemptState.QUEUED, submission__held_for="")
    for lane in Lane.objects.filter(held=True):
        queued = queued.exclude(backend=lane.backend, submission__scale=lane.scale)
    return queued


def health_checks() -> list[Check]:
    """Everything that must hold for nobody to wait in vain."""
    beat = Beat.objects.filter(name=RECONCILER).first()
    open_ones = Submission.objects.exclude(state__in=TERMINAL)
    overdue = open_ones.filter(due_at__lt=timezone.now() - timedelta(seconds=1))
    running = Attempt.objects.filter(state=AttemptState.RUNNING)
    return [
        Check("reconciler", "last sign of the reconciler",
              _age(beat.at) if beat else BEAT_LATE + 1, BEAT_LATE),
        Check("overdue", "longest delay of a step that is due", _oldest(overdue, "due_at"),
              DUE_LATE),
        Check("waiting", "oldest submission that waits for a slot",
              _oldest(_unheld(), "created_at"), settings.CRUCIBLE_ALERT_WAITING),
        Check("silent", "longest silence of a running job", _oldest(running, "heard_at"), SILENT),
    ]  # fmt: skip


Samples = list[tuple[dict[str, str], float]]


def _metrics() -> Iterator[tuple[str, str, Samples]]:
    """Name, help and samples (labels, value) of every gauge."""
    grouped = Submission.objects.order_by().values_list("state", "scale").annotate(Count("id"))
    yield (
        "submissions",
        "Submissions by state and scale.",
        [({"state": state, "scale": scale}, count) for state, scale, count in grouped],
    )
    attempts = (
        Attempt.objects.order_by().values_list("backend", "stage", "state").annotate(Count("id"))
    )
    yield (
        "attempts",
        "Attempts at stages, by backend, stage and state.",
        [
            ({"backend": backend, "stage": stage, "state": state}, count)
            for backend, stage, state, count in attempts
        ],
    )
    used = dict(
        Attempt.objects.filter(state__in=[*OCCUPYING, AttemptState.QUEUED])
        .order_by()
        .values("backend")
        .annotate(jobs=Count("id", filter=Q(state__in=OCCUPYING)))
        .values_list("backend", "jobs")
    )
    yield (
        "slots",
        "Jobs that a backend in use takes at once.",
        [({"backend": name}, backend_get(name).slots) for name in used],
    )
    yield (
        "slots_used",
        "Jobs that have a slot.",
        [({"backend": name}, count) for name, count in used.items()],
    )
    checks = health_checks()
    yield (
        "age_seconds",
        "What /health/pipeline/ looks at, in seconds; 0: there is none.",
        [({"check": check.name}, check.seconds or 0.0) for check in checks],
    )
    yield (
        "healthy",
        "1 while a check of /health/pipeline/ is within its limit.",
        [({"check": check.name}, float(check.ok)) for check in checks],
    )
    beats = Beat.objects.values_list("name", "seconds")
    yield (
        "pass_seconds",
        "The longest look of the reconciler in five seconds.",
        [({"part": name}, seconds) for name, seconds in beats],
    )
    yield (
        "notices",
        "Mails and webhooks in the outbox.",
        [
            ({"state": "waiting"}, Notice.objects.filter(sent_at=None, gave_up_at=None).count()),
            ({"state": "given up"}, Notice.objects.filter(gave_up_at__isnull=False).count()),
        ],
    )
    sums = Allowance.objects.order_by().values("scale").annotate(
        available=Sum("available"), reserved=Sum("reserved"), spent=Sum("spent")
    )  # fmt: skip
    yield (
        "gpu_hours",
        "Of all teams together.",
        [
            ({"scale": row["scale"], "amount": amount}, float(row[amount]))
            for row in sums
            for amount in ("available", "reserved", "spent")
        ],
    )


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def metrics_text() -> str:
    """All gauges in Prometheus's text format, version 0.0.4."""
    lines = []
    for name, text, samples in _metrics():
        lines += [f"# HELP crucible_{name} {text}", f"# TYPE crucible_{name} gauge"]
        for labels, value in samples:
            inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            lines.append(f"crucible_{name}{{{inner}}} {value:g}")
    return "\n".join(lines) + "\n"
