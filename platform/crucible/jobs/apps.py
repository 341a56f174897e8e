"""Registers the app and its start-up checks."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Attempts at stages, and the pipeline."""

    name = "crucible.jobs"
    verbose_name = "Jobs"

    def ready(self) -> None:
        from crucible.jobs import checks  # noqa: F401  (registers itself)
