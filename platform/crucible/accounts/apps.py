"""Registers the app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """API tokens of users."""

    name = "crucible.accounts"
    verbose_name = "Accounts"
