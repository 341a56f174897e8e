"""Scores in the admin, read-only."""

from __future__ import annotations

from django.contrib import admin

from crucible.leaderboard.models import Score
from crucible.read_only import ReadOnly


@admin.register(Score)
class ScoreAdmin(ReadOnly, admin.ModelAdmin):
    """Every score with its provenance."""

    list_display = ["submission", "label", "value", "metric_version", "loss", "created_at"]
    list_filter = ["label", "metric_version", "submission__track", "submission__scale"]
    list_select_related = ["submission"]
