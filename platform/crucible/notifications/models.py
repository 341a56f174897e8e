"""The outbox, and the choices of users: mail and webhooks."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from crucible.entries.models import Event


class MailChoice(models.Model):
    """Whether a user wants mail; without a row yes, if an organiser set an address."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mail_choice"
    )
    wanted = models.BooleanField(default=True)

    def __str__(self) -> str:
        return f"{self.user}: {'mail' if self.wanted else 'no mail'}"


class Webhook(models.Model):
    """An address that receives every move of the user's submissions. Its key is not stored."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhooks"
    )
    url = models.URLField(max_length=500)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.url


class Notice(models.Model):
    """One event for one webhook, or, without a webhook, for mail to the owner.

    Written in the transaction of the event, so that none is lost; sent later, until it arrives or
    is given up.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="notices")
    webhook = models.ForeignKey(
        Webhook, on_delete=models.CASCADE, null=True, blank=True, related_name="notices"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(auto_now_add=True)
    tries = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    gave_up_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(
                fields=["due_at"], name="unsent", condition=Q(sent_at=None, gave_up_at=None)
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["event", "webhook"], name="one_notice_a_receiver", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook or 'mail'}"

    @property
    def state(self) -> str:
        """sent, given up, or waiting."""
        if self.sent_at:
            return "sent"
        return "given up" if self.gave_up_at else "waiting"
