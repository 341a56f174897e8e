"""Attempts: each row is one launch, or the firm intent of one, of a stage of a submission."""

from __future__ import annotations

from django.db import models
from django.db.models import Q, TextChoices

from crucible.entries.models import Submission


class Stage(TextChoices):
    """The stages in their order; each is a module that runs as its own process."""

    VALIDATE = "validate"
    TOKENIZE = "tokenize"
    TRAIN = "train"
    EVALUATE = "evaluate"
    SCORE = "score"


class AttemptState(TextChoices):
    """Launching = decided but perhaps not started; lost = ended without a word."""

    LAUNCHING = "launching"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"


LIVE = [AttemptState.LAUNCHING, AttemptState.RUNNING]


class Attempt(models.Model):
    """`key` is committed before the launch: by it, and by nothing else, a job is recognised."""

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="attempts")
    stage = models.CharField(max_length=20, choices=Stage)
    number = models.PositiveIntegerField()
    key = models.CharField(max_length=60, unique=True)
    backend = models.CharField(max_length=20)
    state = models.CharField(max_length=20, choices=AttemptState, default=AttemptState.LAUNCHING)
    created_at = models.DateTimeField(auto_now_add=True)
    launched_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True, help_text="Its last sign of life.")
    finished_at = models.DateTimeField(null=True, blank=True)
    progress = models.JSONField(default=dict, blank=True)
    result = models.JSONField(null=True, blank=True)
    failure = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["submission", "stage", "number"], name="attempts_are_numbered"
            ),
            models.UniqueConstraint(
                fields=["submission"], condition=Q(state__in=[s.value for s in LIVE]),
                name="one_live_attempt_a_submission",
            ),
            models.CheckConstraint(
                condition=~Q(state="succeeded") | Q(result__isnull=False),
                name="success_has_a_result",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.key
