"""Webhooks and the outbox in the admin: to be read."""

from __future__ import annotations

from django.contrib import admin

from crucible.notifications.models import Notice, Webhook
from crucible.read_only import ReadOnly


@admin.register(Webhook)
class WebhookAdmin(ReadOnly, admin.ModelAdmin):
    """Who is told where."""

    list_display = ["url", "user", "created_at", "removed_at"]
    list_select_related = ["user"]


@admin.register(Notice)
class NoticeAdmin(ReadOnly, admin.ModelAdmin):
    """What is on its way, was sent or was given up."""

    list_display = ["created_at", "event", "webhook", "state", "tries", "due_at", "last_error"]
    list_filter = ["sent_at", "gave_up_at"]
    list_select_related = ["event", "webhook"]
