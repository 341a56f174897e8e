"""Registers the app and its start-up check."""

from django.apps import AppConfig


class LeaderboardConfig(AppConfig):
    """Scores."""

    name = "crucible.leaderboard"
    verbose_name = "Leaderboard"

    def ready(self) -> None:
        from crucible.leaderboard import checks  # noqa: F401  (registers itself)
