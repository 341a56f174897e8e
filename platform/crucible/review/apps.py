"""Registers the app."""

from django.apps import AppConfig


class ReviewConfig(AppConfig):
    """Findings, verdicts, appeals."""

    name = "crucible.review"
    verbose_name = "Review"
