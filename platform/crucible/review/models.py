"""Scans, findings and items, and the verdicts and appeals on them.

Reviewers judge items. An item holds the findings of one severity in one task of one submission.
Verdicts and appeals are append-only: database triggers refuse changes.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q, TextChoices

from crucible.entries.models import Submission
from crucible.entries.states import choices_of
from submissions.states import Track


class Severity(TextChoices):
    """How much of an example is in the data, the most severe first; docs/contamination.md."""

    HIGH = "high", "HIGH: question and answer"
    MEDIUM = "medium", "MEDIUM: question"
    REVIEW = "review", "REVIEW: part of a question"
    PASSAGE = "passage", "PASSAGE: passage only"


class VerdictKind(TextChoices):
    """The verdicts that a reviewer may give."""

    FALSE_ALARM = "false_alarm", "False alarm"
    MARK = "accept_with_mark", "Accept with a mark"
    EXCLUDE = "exclude_task", "Exclude the task"
    DISQUALIFY = "disqualify", "Disqualify"


class HoldRule(models.Model):
    """The findings that hold a submission until a reviewer has judged them.

    The most specific rule for a track and a scale counts. Without a rule, one example of HIGH
    holds.
    """

    track = models.CharField(
        max_length=20, choices=choices_of(Track), blank=True, help_text="Empty: every track."
    )
    scale = models.CharField(max_length=20, blank=True, help_text="Empty: every scale.")
    severity = models.CharField(
        max_length=10,
        choices=[c for c in Severity.choices if c[0] != Severity.PASSAGE],
        blank=True,
        help_text="This one and graver ones hold. Empty: nothing does.",
    )
    examples = models.PositiveIntegerField(
        default=1, help_text="How many examples of a task it takes at least."
    )

    class Meta:
        ordering = ["track", "scale"]
        constraints = [
            models.UniqueConstraint(fields=["track", "scale"], name="one_rule_a_board"),
            models.CheckConstraint(condition=Q(examples__gte=1), name="a_rule_counts_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.track or 'every track'}, {self.scale or 'every scale'}"


class Scan(models.Model):
    """The result of the scan of a submission's dataset."""

    submission = models.OneToOneField(Submission, on_delete=models.PROTECT, related_name="scan")
    created_at = models.DateTimeField(auto_now_add=True)
    index_sha256 = models.CharField(max_length=64)
    report = models.JSONField(help_text="The report's counts.")
    leaked = models.JSONField(help_text="By task, the rows with a finding of HIGH or MEDIUM.")
    clean_score = models.JSONField(
        null=True, blank=True, help_text="The score over the other rows, once there is one."
    )

    def __str__(self) -> str:
        return f"scan of {self.submission}"


class Item(models.Model):
    """The findings of one severity in one task, which one verdict judges."""

    scan = models.ForeignKey(Scan, on_delete=models.PROTECT, related_name="items")
    task = models.CharField(max_length=80)
    severity = models.CharField(max_length=10, choices=Severity)
    examples = models.PositiveIntegerField(help_text="Of the task, each counted once.")
    holds = models.BooleanField(help_text="Whether publication waits for its verdict.")
    is_open = models.BooleanField(default=True, help_text="Whether it waits for a verdict.")
    opened_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["opened_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["scan", "task", "severity"], name="items_are_apart")
        ]
        indexes = [models.Index(fields=["opened_at"], name="queue", condition=Q(is_open=True))]

    def __str__(self) -> str:
        return f"{self.scan.submission}: {self.task}, {self.severity}"


class Finding(models.Model):
    """One example in one document. For each example, only a limited number is stored."""

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="findings")
    index = models.PositiveIntegerField(help_text="The example's row in the task file, from 0.")
    shard = models.CharField(max_length=500)
    line = models.BigIntegerField()
    detail = models.JSONField(help_text="As the report has it: spans, scores, text.")

    class Meta:
        ordering = ["index", "id"]

    def __str__(self) -> str:
        return f"{self.item.task} {self.index} in {self.shard}:{self.line}"


class Verdict(models.Model):
    """A reviewer's decision about an item. The last counts; disqualifying takes two reviewers."""

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="verdicts")
    kind = models.CharField(max_length=20, choices=VerdictKind)
    reason = models.TextField(max_length=2000)
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="a_verdict_has_a_reason")
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.reviewer}"


class Appeal(models.Model):
    """The participant's appeal against the verdicts: one for each submission."""

    submission = models.OneToOneField(Submission, on_delete=models.PROTECT, related_name="appeal")
    text = models.TextField(max_length=4000)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"appeal for {self.submission}"
