"""Webhooks and the outbox in the admin, read-only."""

from __future__ import annotations

from django.contrib import admin

from crucible.notifications.models import Notice, Webhook
from crucible.read_only import ReadOnly


@admin.register(Webhook)
class WebhookAdmin(ReadOnly, admin.ModelAdmin):
    """Webhooks of all users."""

    list_display = ["url", "user", "created_at", "removed_at"]
    list_select_related = ["user"]


@admin.register(Notice)
class NoticeAdmin(ReadOnly, admin.ModelAdmin):
    """Notices that wait, were sent or were given up."""

    list_display = ["created_at", "event", "webhook", "state", "tries", "due_at", "last_error"]
    list_filter = ["sent_at", "gave_up_at"]
    list_select_related = ["event", "webhook"]
