"""Attempts in the admin, read-only; and lanes, with which an organiser limits the queues."""

from __future__ import annotations

from django.contrib import admin

from crucible.jobs.models import Attempt, Lane
from crucible.read_only import ReadOnly
from crucible.roles.recorded import RecordedAdmin


@admin.register(Attempt)
class AttemptAdmin(ReadOnly, admin.ModelAdmin):
    """Every attempt, with its outcome."""

    list_display = ["key", "submission", "stage", "state", "backend", "launched_at", "heard_at"]
    list_filter = ["state", "stage", "backend"]
    search_fields = ["key"]
    list_select_related = ["submission"]


@admin.register(Lane)
class LaneAdmin(RecordedAdmin):
    """How many jobs of a scale may run at once on a backend, and whether that queue is held."""

    list_display = ["scale", "backend", "jobs_at_once", "held"]
    list_editable = ["jobs_at_once", "held"]
