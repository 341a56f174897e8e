"""Registers the app."""

from django.apps import AppConfig


class IntakeConfig(AppConfig):
    """It has no tables."""

    name = "crucible.intake"
    verbose_name = "Intake"
