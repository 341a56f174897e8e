"""Registers the app."""

from django.apps import AppConfig


class BudgetsConfig(AppConfig):
    """Teams, their allowances and the ledger."""

    name = "crucible.budgets"
    verbose_name = "Budgets"
