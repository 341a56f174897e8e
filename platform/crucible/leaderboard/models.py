"""Scores with their provenance, and the revision numbers of boards."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

from django.db import models
from django.db.models import Q

from crucible.entries.models import Submission
from crucible.entries.states import choices_of
from evaluation.baselines import HERE
from submissions.states import Track

HASHES = ["suite_sha256", "recipe_sha256", "manifest_sha256", "tokenizer_sha256"]


RANKING = ("core", "smoke", "mean")  # fields, one of which ranks


def figure_of(label: str) -> str:
    """The field that ranks, by the label: CORE, SMOKE, or the name of the site's own suite."""
    return label.lower() if label in ("CORE", "SMOKE") else "mean"


class Score(models.Model):
    """One submission under one metric version. No part of the provenance may be missing."""

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="scores")
    metric_version = models.CharField(max_length=10)
    created_at = models.DateTimeField(auto_now_add=True)

    label = models.CharField(
        max_length=20, help_text="What the rank is by: CORE, SMOKE or the name of one's own suite."
    )
    core = models.FloatField(null=True, blank=True)
    core_stderr = models.FloatField(null=True, blank=True)
    extended = models.FloatField(null=True, blank=True)
    extended_stderr = models.FloatField(null=True, blank=True)
    mmlu = models.FloatField(null=True, blank=True)
    mmlu_stderr = models.FloatField(null=True, blank=True)
    smoke = models.FloatField(null=True, blank=True)
    smoke_stderr = models.FloatField(null=True, blank=True)
    mean = models.FloatField(null=True, blank=True, help_text="Of a suite of one's own.")
    mean_stderr = models.FloatField(null=True, blank=True)
    intervals = models.JSONField(
        default=dict, blank=True, help_text="95 %, by the name of the figure: [low, high]."
    )
    categories = models.JSONField()
    tasks = models.JSONField(
        help_text="Per task: score, n, stderr, baseline, centered, interval, chance_p."
    )
    missing_tasks = models.JSONField(default=list, blank=True)
    soft = models.JSONField(
        null=True, blank=True,
        help_text="Soft means by their figure: value, stderr, interval. Null: not computed.",
    )  # fmt: skip

    # Hash of the per-example answers in RECORDS_DIR. Scores made before these were kept have none.
    records_sha256 = models.CharField(max_length=64, blank=True)
    suite_sha256 = models.CharField(max_length=64)
    recipe_sha256 = models.CharField(max_length=64)
    manifest_sha256 = models.CharField(max_length=64)
    tokenizer_sha256 = models.CharField(max_length=64)
    seed = models.PositiveIntegerField()
    code_commit = models.CharField(max_length=60)
    training_engine = models.CharField(max_length=40)
    evaluation_engine = models.CharField(max_length=40)
    hardware = models.JSONField()
    versions = models.JSONField()
    seconds = models.FloatField(help_text="Of all stages together.")
    flops = models.FloatField(help_text="Of training.")
    loss = models.FloatField(help_text="Training loss at the end, z-loss included.")
    # Of the dataset. Scores made before these fields existed have none.
    tokens = models.BigIntegerField(null=True, blank=True, help_text="In whole rows.")
    unique_tokens = models.BigIntegerField(
        null=True, blank=True, help_text="Without documents that repeat an earlier one."
    )
    epochs = models.FloatField(
        null=True,
        blank=True,
        help_text="How often training read it, or the most repeated source of a mixture.",
    )

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["submission", "metric_version"], name="one_score_a_metric_version"
            ),
            *[
                models.CheckConstraint(
                    condition=Q(**{f"{name}__regex": r"^[0-9a-f]{64}$"}), name=f"{name}_is_a_hash"
                )
                for name in HASHES
            ],
            models.CheckConstraint(
                condition=~Q(code_commit="") & ~Q(training_engine="") & ~Q(evaluation_engine=""),
                name="provenance_is_complete",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.submission} {self.label} {self.metric_version}"

    @property
    def figure(self) -> str:
        """The name of the field that ranks."""
        return figure_of(self.label)

    @property
    def value(self) -> float | None:
        """The figure that ranks: at most 1, negative if worse than random guessing."""
        value: float | None = getattr(self, self.figure)
        return value

    @property
    def interval(self) -> list[float] | None:
        """The 95 % interval of `value`, from the choice of questions alone."""
        found: list[float] | None = self.intervals.get(self.figure)
        return found

    @property
    def times_read(self) -> str:
        """How often each row was read if the dataset was too small for one epoch: “2 or 3 times”.

        The empty string if no row was read twice. The last epoch may be a partial one.
        """
        if self.epochs is None or self.epochs <= 1:
            return ""
        low, high = floor(self.epochs), ceil(self.epochs)
        if low == high:
            return f"{low} times"
        return "once or twice" if low == 1 else f"{low} or {high} times"

    @property
    def soft_value(self) -> dict[str, Any] | None:
        """The soft mean beside `value`: from probabilities of the right answers, never ranking."""
        found: dict[str, Any] | None = (self.soft or {}).get(self.figure)
        return found

    @property
    def stderr(self) -> float | None:
        """The standard error of `value`, from the choice of questions alone: not of training."""
        stderr: float | None = getattr(self, f"{self.figure}_stderr")
        return stderr


class Baseline(models.Model):
    """A run that others published, shown beside the entries of its scale and never ranked."""

    origin = models.CharField(max_length=40, help_text="Who published it.")
    reference = models.CharField(max_length=100, help_text="Its name there, such as a uuid.")
    name = models.CharField(max_length=200, help_text="Of the dataset.")
    scale = models.CharField(max_length=20)
    seed = models.BigIntegerField(null=True, blank=True)
    made_at = models.CharField(max_length=40, blank=True)
    source = models.CharField(max_length=400)
    deviations = models.JSONField(default=list, blank=True, help_text="From the scale's recipe.")
    scores = models.JSONField(help_text="By metric version: the fields of a score.")
    imported_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["scale", "name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["origin", "reference"], name="one_baseline_a_run")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.origin}, {self.scale})"

    @property
    def evaluated_here(self) -> bool:
        """Whether an organiser evaluated the model, instead of reading a publication."""
        return self.origin == HERE


class BoardRevision(models.Model):
    """Counts the changes of a board, each in the transaction of the change."""

    track = models.CharField(max_length=20, choices=choices_of(Track))
    scale = models.CharField(max_length=20)
    number = models.PositiveBigIntegerField(default=0)
    changed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["track", "scale"]
        constraints = [
            models.UniqueConstraint(fields=["track", "scale"], name="one_revision_a_board")
        ]

    def __str__(self) -> str:
        return f"{self.track}, {self.scale}: {self.number}"
