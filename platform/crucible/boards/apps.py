"""Registers the app and its receivers."""

from django.apps import AppConfig


class BoardsConfig(AppConfig):
    """It has no tables."""

    name = "crucible.boards"
    verbose_name = "Boards"

    def ready(self) -> None:
        from crucible.boards import receivers  # noqa: F401  (attach themselves)
