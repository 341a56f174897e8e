"""Registers the app and its receiver."""

from django.apps import AppConfig


class PrivacyConfig(AppConfig):
    """Forgetting users; retention."""

    name = "crucible.privacy"
    verbose_name = "Privacy"

    def ready(self) -> None:
        from crucible.privacy import receivers  # noqa: F401  (attach themselves)
