"""Registers the app."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Webhooks, and notices on their way."""

    name = "crucible.notifications"
    verbose_name = "Notifications"
