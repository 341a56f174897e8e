"""Registers the app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Users' tokens."""

    name = "crucible.accounts"
    verbose_name = "Accounts"
