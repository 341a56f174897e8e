"""Uploads, submissions and their append-only history."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from crucible.entries.states import EventKind, choices_of
from crucible.roles.permissions import Permission, may
from submissions.states import TERMINAL, State, Track


class Upload(models.Model):
    """Shards that are being uploaded; the submission that uses them closes the upload for good."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return str(self.id)


class Shard(models.Model):
    """One received file of an upload, with the hash that the server computed."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="shards")
    name = models.CharField(max_length=200)
    bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["upload", "name"], name="one_shard_a_name")]

    def __str__(self) -> str:
        return self.name


class SubmissionQuerySet(models.QuerySet["Submission"]):
    """Every query of a page starts at `visible_to`: what it does not allow is denied."""

    def visible_to(self, user: Any) -> SubmissionQuerySet:
        """Published submissions for everybody, a user's own, and all for who may see them."""
        if may(user, Permission.SEE):
            return self
        allowed = Q(state=State.PUBLISHED)
        if user.is_authenticated:
            allowed |= Q(user=user)
        return self.filter(allowed)


class Submission(models.Model):
    """A dataset in the competition. Only `submission_move` changes `state`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    name = models.CharField(max_length=80)
    description = models.TextField(blank=True, max_length=4000)
    track = models.CharField(max_length=20, choices=choices_of(Track))
    scale = models.CharField(max_length=20)
    seed = models.PositiveIntegerField()
    upload = models.OneToOneField(Upload, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    state = models.CharField(max_length=20, choices=choices_of(State), default=State.SUBMITTED)
    version = models.PositiveIntegerField(default=0, help_text="Counts moves: compare-and-set.")
    waiting_for = models.CharField(max_length=200, blank=True)
    failure = models.JSONField(null=True, blank=True)

    # Set by organisers, for the queue.
    priority = models.SmallIntegerField(default=0, help_text="Higher goes first.")
    held_for = models.CharField(
        max_length=200, blank=True, help_text="Why nothing more of it is started; empty: not held."
    )
    retries = models.PositiveSmallIntegerField(default=0)
    retried_at = models.DateTimeField(null=True, blank=True)

    troubles = models.PositiveSmallIntegerField(
        default=0, help_text="Unexpected errors of the platform in a row."
    )

    # When the reconciler looks next (null: the grant of a slot wakes it), and when it last sent a
    # hint that nobody has taken up yet.
    due_at = models.DateTimeField(auto_now_add=True, null=True)
    hinted_at = models.DateTimeField(null=True, blank=True)

    objects = SubmissionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("cancel_submission", "Can cancel submissions of others"),
            ("retry_submission", "Can retry submissions of others"),
            ("hold_submission", "Can hold and release submissions"),
            ("prioritise_submission", "Can change the priority of submissions"),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                name="due",
                condition=~Q(state__in=sorted(s.value for s in TERMINAL)),
            ),
            models.Index(fields=["track", "scale", "state"], name="board"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in State]),
                name="submission_state_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.FAILED) | Q(failure__isnull=False),
                name="a_failure_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.name}"

    @property
    def is_over(self) -> bool:
        """Whether it is in a final state."""
        return State(self.state) in TERMINAL


class Event(models.Model):
    """What happened, in order. A database trigger refuses changes and deletions."""

    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="events")
    sequence = models.PositiveIntegerField()
    kind = models.CharField(max_length=40, choices=EventKind)
    from_state = models.CharField(max_length=20, blank=True)
    to_state = models.CharField(max_length=20)
    actor = models.CharField(max_length=150, help_text="A username, or the platform itself.")
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["submission", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["submission", "sequence"], name="events_in_order")
        ]

    def __str__(self) -> str:
        return f"{self.submission_id}/{self.sequence} {self.kind}"
