"""Attempts at stages, the heartbeats of services, and lanes."""

from __future__ import annotations

from django.db import models
from django.db.models import Q, TextChoices

from crucible.entries.models import Submission
from crucible.entries.states import choices_of
from submissions.codec import convert
from submissions.job import ResultDocument
from submissions.states import Stage


class AttemptState(TextChoices):
    """How far an attempt is.

    queued: waits for a slot. launching: has a slot; its job may not have started yet. lost: ended
    without a result or a failure.
    """

    QUEUED = "queued"
    LAUNCHING = "launching"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"


OCCUPYING = [AttemptState.LAUNCHING, AttemptState.RUNNING]  # each holds a slot of the backend
LIVE = [AttemptState.QUEUED, *OCCUPYING]


class Attempt(models.Model):
    """One launch of a stage, or the committed intent to launch it.

    `key` is committed before the launch; it alone identifies the job.
    """

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="attempts")
    stage = models.CharField(max_length=20, choices=choices_of(Stage))
    number = models.PositiveIntegerField()
    key = models.CharField(max_length=60, unique=True)
    backend = models.CharField(max_length=20)
    state = models.CharField(max_length=20, choices=AttemptState, default=AttemptState.QUEUED)
    created_at = models.DateTimeField(auto_now_add=True)
    launched_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True, help_text="Its last sign of life.")
    finished_at = models.DateTimeField(null=True, blank=True)
    progress = models.JSONField(default=dict, blank=True)
    result = models.JSONField(null=True, blank=True)
    failure = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        permissions = [("read_metrics", "Can read the gauges at /metrics")]
        indexes = [
            models.Index(
                fields=["backend", "state"],
                name="live",
                condition=Q(state__in=[s.value for s in LIVE]),
            ),
            models.Index(fields=["stage", "state", "-id"], name="recent"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["submission", "stage", "number"], name="attempts_are_numbered"
            ),
            models.UniqueConstraint(
                fields=["submission", "stage"],
                condition=Q(state__in=[s.value for s in LIVE]),
                name="one_live_attempt_a_stage",
            ),
            models.CheckConstraint(
                condition=~Q(state="succeeded") | Q(result__isnull=False),
                name="success_has_a_result",
            ),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def result_document(self) -> ResultDocument | None:
        """What the stage reported, as its type; `artifact_corrupt` where it is none."""
        if self.result is None:
            return None
        where = f"the result of {self.key}"
        return convert(ResultDocument, self.result, code="artifact_corrupt", where=where)


class Beat(models.Model):
    """The last heartbeat of a service, and the duration of its longest recent pass."""

    name = models.CharField(max_length=20, primary_key=True)
    at = models.DateTimeField()
    seconds = models.FloatField()

    def __str__(self) -> str:
        return self.name


class Lane(models.Model):
    """An organiser's limit for the queue of one scale on one backend; optional."""

    backend = models.CharField(max_length=20)
    scale = models.CharField(max_length=20)
    jobs_at_once = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: as many as the backend has slots."
    )
    held = models.BooleanField(default=False, help_text="Starts nothing; what runs goes on.")

    class Meta:
        ordering = ["backend", "scale"]
        constraints = [
            models.UniqueConstraint(fields=["backend", "scale"], name="one_lane_a_queue")
        ]

    def __str__(self) -> str:
        return f"{self.scale} on {self.backend}"
