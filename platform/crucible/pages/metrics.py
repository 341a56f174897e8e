"""Gauges for Prometheus, read from the database at every scrape."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count, Q, Sum
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from crucible.budgets.models import Allowance
from crucible.entries.models import Submission
from crucible.jobs.backends import backend_get
from crucible.jobs.models import OCCUPYING, Attempt, AttemptState, Beat
from crucible.notifications.models import Notice
from crucible.pages.health import health_checks

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Samples = list[tuple[list[str], float]]  # label values, value


def metrics_text() -> bytes:
    """All gauges in Prometheus's text format, version 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Platform())
    return generate_latest(registry)


class _Platform(Collector):
    """Every gauge of this installation."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from _work()
        yield from _slots()
        yield from _health()
        yield from _outbox_and_budgets()


def _gauge(name: str, text: str, labels: list[str], samples: Samples) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"crucible_{name}", text, labels=labels)
    for values, figure in samples:
        family.add_metric(values, figure)
    return family


def _work() -> Iterator[GaugeMetricFamily]:
    submissions = Submission.objects.order_by().values_list("state", "scale").annotate(Count("id"))
    yield _gauge(
        "submissions",
        "Submissions by state and scale.",
        ["state", "scale"],
        [([state, scale], count) for state, scale, count in submissions],
    )
    names = ["backend", "stage", "state"]
    attempts = Attempt.objects.order_by().values_list(*names).annotate(Count("id"))
    yield _gauge(
        "attempts",
        "Attempts at stages, by backend, stage and state.",
        names,
        [(list(labels), count) for *labels, count in attempts],
    )


def _slots() -> Iterator[GaugeMetricFamily]:
    used = dict(
        Attempt.objects.filter(state__in=[*OCCUPYING, AttemptState.QUEUED])
        .order_by()
        .values("backend")
        .annotate(jobs=Count("id", filter=Q(state__in=OCCUPYING)))
        .values_list("backend", "jobs")
    )
    yield _gauge(
        "slots",
        "Slots of a backend that has work.",
        ["backend"],
        [([name], backend_get(name).slots) for name in used],
    )
    yield _gauge(
        "slots_used",
        "Slots in use.",
        ["backend"],
        [([name], count) for name, count in used.items()],
    )


def _health() -> Iterator[GaugeMetricFamily]:
    checks = health_checks()
    yield _gauge(
        "age_seconds",
        "Values of the checks of /health/pipeline/ in seconds; 0: none.",
        ["check"],
        [([check.name], check.seconds or 0.0) for check in checks],
    )
    yield _gauge(
        "healthy",
        "1 if a check of /health/pipeline/ is within its limit.",
        ["check"],
        [([check.name], float(check.ok)) for check in checks],
    )
    beats = Beat.objects.values_list("name", "seconds")
    yield _gauge(
        "pass_seconds",
        "Longest recent pass of each service; of daily work, its last run.",
        ["part"],
        [([name], seconds) for name, seconds in beats],
    )


def _outbox_and_budgets() -> Iterator[GaugeMetricFamily]:
    waiting = Notice.objects.filter(sent_at=None, gave_up_at=None).count()
    given_up = Notice.objects.filter(gave_up_at__isnull=False).count()
    yield _gauge(
        "notices",
        "Mails and webhooks in the outbox.",
        ["state"],
        [(["waiting"], waiting), (["given up"], given_up)],
    )
    sums = (
        Allowance.objects.order_by()
        .values("scale")
        .annotate(Sum("available"), Sum("reserved"), Sum("spent"))
        .values_list("scale", "available__sum", "reserved__sum", "spent__sum")
    )
    yield _gauge(
        "gpu_hours",
        "H100-hours of all teams together.",
        ["scale", "amount"],
        [
            ([scale, amount], float(hours))
            for scale, *amounts in sums
            for amount, hours in zip(("available", "reserved", "spent"), amounts, strict=True)
        ],
    )
