"""Registers the app."""

from django.apps import AppConfig


class EntriesConfig(AppConfig):
    """Uploads, submissions, events."""

    name = "crucible.entries"
    verbose_name = "Submissions"
