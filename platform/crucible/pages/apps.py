"""Registers the app."""

from django.apps import AppConfig


class PagesConfig(AppConfig):
    """It has no tables."""

    name = "crucible.pages"
    verbose_name = "Pages"
