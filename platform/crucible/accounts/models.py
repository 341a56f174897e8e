"""API tokens and invitations: only hashes are stored, so a copy of the database gives no access."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from crucible.accounts.scopes import Scope, scopes_in


class ApiToken(models.Model):
    """One token of one user; `digest` is the SHA-256 of the secret, which is shown once."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    label = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12, help_text="The first letters, to tell tokens apart.")
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.CharField(max_length=40, help_text="What it may do, separated by blanks.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # Requests in the minute (since 1970) of the last one: what the limit per token counts.
    minute = models.PositiveIntegerField(default=0, editable=False)
    requests = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.label} ({self.prefix}…)"

    def may(self) -> tuple[Scope, ...]:
        """Its scopes."""
        return scopes_in(self.scopes)


class Invitation(models.Model):
    """One account may be made with it; `digest` is the SHA-256 of the secret in its link."""

    digest = models.CharField(max_length=64, unique=True)
    note = models.CharField(max_length=80, blank=True, help_text="For whom it is.")
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_by = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        permissions = [("link_account", "Can hand out links to participants' accounts")]

    def __str__(self) -> str:
        return self.note or f"invitation {self.pk}"
