"""Attempts in the admin: to be read."""

from __future__ import annotations

from django.contrib import admin

from crucible.entries.admin import ReadOnly
from crucible.jobs.models import Attempt


@admin.register(Attempt)
class AttemptAdmin(ReadOnly, admin.ModelAdmin):
    """Every launch that was ever meant, with how it ended."""

    list_display = ["key", "submission", "stage", "state", "backend", "launched_at", "heard_at"]
    list_filter = ["state", "stage", "backend"]
    search_fields = ["key"]
    list_select_related = ["submission"]
