"""Registers the app and its receivers."""

from django.apps import AppConfig


class BudgetsConfig(AppConfig):
    """Teams, their allowances and the ledger."""

    name = "crucible.budgets"
    verbose_name = "Budgets"

    def ready(self) -> None:
        from crucible.budgets import receivers  # noqa: F401  (attach themselves)
