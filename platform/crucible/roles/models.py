"""Acts: what people did by a permission of theirs. Database triggers refuse changes."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import TextChoices


class ActKind(TextChoices):
    """The kinds of acts; docs/security.md lists them."""

    # On another's submission.
    CANCELLED = "cancelled"
    RETRIED = "retried"
    # On any submission.
    HELD = "held"
    RELEASED = "released"
    PRIORITISED = "prioritised"
    JUDGED = "judged"
    # On accounts.
    TOKEN_REVOKED = "token revoked"  # noqa: S105
    TOKEN_CREATED = "token created"  # noqa: S105
    ACCOUNT_CREATED = "account created"
    LINK_MADE = "link made"
    FORGOTTEN = "forgotten"
    GIVEN = "given"
    TAKEN = "taken"
    MEMBER_ADDED = "member added"
    MEMBER_REMOVED = "member removed"
    # On anything else in the admin.
    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"


class Act(models.Model):
    """One act. It names no user as text, so that forgetting a user changes nothing here."""

    created_at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+",
        help_text="Who did it. Empty: a command on the site's machine.",
    )  # fmt: skip
    what = models.CharField(max_length=20, choices=ActKind)
    about = models.CharField(max_length=120, help_text="The thing, with its number.")
    on_whom = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+",
        help_text="Whose thing it is. Empty: nobody's.",
    )  # fmt: skip
    detail = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.what}: {self.about}"
