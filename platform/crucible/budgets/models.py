"""Teams, their allowances, and the append-only ledger; allowances hold its sums."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q, TextChoices

from crucible.entries.models import Submission


class Team(models.Model):
    """Users who share a budget. A submission belongs to its user; the user's team pays."""

    name = models.CharField(max_length=80, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user is in at most one team, so that it is clear which team pays."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="membership"
    )

    class Meta:
        ordering = ["user"]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"


class Allowance(models.Model):
    """What a team has at one scale. The three amounts are the sums of its ledger's columns."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="allowances")
    scale = models.CharField(max_length=20)
    concurrent = models.PositiveIntegerField(
        help_text="How many of the team's submissions at this scale may be under way at once."
    )
    available = models.DecimalField(max_digits=12, decimal_places=2, default=0, editable=False)
    reserved = models.DecimalField(max_digits=12, decimal_places=2, default=0, editable=False)
    spent = models.DecimalField(max_digits=12, decimal_places=2, default=0, editable=False)

    class Meta:
        ordering = ["team", "scale"]
        constraints = [
            models.UniqueConstraint(fields=["team", "scale"], name="one_allowance_a_scale"),
            models.CheckConstraint(
                condition=Q(available__gte=0) & Q(reserved__gte=0) & Q(spent__gte=0),
                name="nothing_is_overdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team}, {self.scale}"


class EntryKind(TextChoices):
    """The kinds of entries; docs/budgets.md shows how each changes the amounts."""

    GRANT = "grant"
    RESERVE = "reserve"
    CONSUME = "consume"
    REFUND = "refund"


class Entry(models.Model):
    """One entry of the ledger: H100-hours added to each of the allowance's amounts.

    `round` counts the reservations of the submission; a retry after a refund reserves again. A
    database trigger refuses changes and deletions.
    """

    allowance = models.ForeignKey(Allowance, on_delete=models.PROTECT, related_name="entries")
    submission = models.ForeignKey(
        Submission, on_delete=models.PROTECT, null=True, blank=True, related_name="ledger"
    )
    round = models.PositiveSmallIntegerField(default=0)
    kind = models.CharField(max_length=10, choices=EntryKind)
    available = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    reserved = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    spent = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    reason = models.CharField(max_length=200)
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        verbose_name = "ledger entry"
        verbose_name_plural = "ledger"
        constraints = [
            models.UniqueConstraint(
                fields=["submission", "round", "kind"],
                name="each_once_a_round",
                condition=Q(submission__isnull=False),
            ),
            models.CheckConstraint(
                condition=Q(kind=EntryKind.GRANT)
                | Q(available=-F("reserved") - F("spent"), submission__isnull=False),
                name="only_a_grant_changes_the_sum",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="an_entry_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.allowance}"
