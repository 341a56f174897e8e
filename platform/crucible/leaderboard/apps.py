"""Registers the app."""

from django.apps import AppConfig


class LeaderboardConfig(AppConfig):
    """Scores."""

    name = "crucible.leaderboard"
    verbose_name = "Leaderboard"
