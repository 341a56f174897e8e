"""Scores in the admin, read-only."""

from __future__ import annotations

from django.contrib import admin

from crucible.leaderboard.models import Baseline, Score
from crucible.read_only import ReadOnly


@admin.register(Score)
class ScoreAdmin(ReadOnly, admin.ModelAdmin):
    """Every score with its provenance."""

    list_display = ["submission", "label", "value", "metric_version", "loss", "created_at"]
    list_filter = ["label", "metric_version", "submission__track", "submission__scale"]
    list_select_related = ["submission"]


@admin.register(Baseline)
class BaselineAdmin(ReadOnly, admin.ModelAdmin):
    """Every baseline; `manage.py import_baselines` brings them."""

    list_display = ["name", "origin", "scale", "seed", "made_at", "imported_at"]
    list_filter = ["origin", "scale"]
    search_fields = ["name"]
