"""Registers the app and its receivers."""

from django.apps import AppConfig


class RolesConfig(AppConfig):
    """Roles, permissions, acts."""

    name = "crucible.roles"
    verbose_name = "Roles"

    def ready(self) -> None:
        from crucible.roles import receivers  # noqa: F401  (attach themselves)
