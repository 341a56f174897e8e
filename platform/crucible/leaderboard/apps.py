"""Registers the app, its start-up check and its receivers."""

from django.apps import AppConfig


class LeaderboardConfig(AppConfig):
    """Scores."""

    name = "crucible.leaderboard"
    verbose_name = "Leaderboard"

    def ready(self) -> None:
        from crucible.leaderboard import checks, receivers  # noqa: F401  (they attach themselves)
