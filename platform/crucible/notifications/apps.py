"""Registers the app and its receivers."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Webhooks, and notices on their way."""

    name = "crucible.notifications"
    verbose_name = "Notifications"

    def ready(self) -> None:
        from crucible.notifications import receivers  # noqa: F401  (attach themselves)
