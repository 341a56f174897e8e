"""Attempts in the admin, read-only; and lanes, with which an organiser limits the queues."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Field
from django.http import HttpRequest

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

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:
        """In the list no label stands beside a field: each says its own name."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs["aria-label"] = str(db_field.verbose_name)
        return field
