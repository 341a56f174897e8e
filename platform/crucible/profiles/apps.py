"""Registers the app."""

from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    """What is in each dataset: figures, samples, maps of topics."""

    name = "crucible.profiles"
    verbose_name = "Profiles"
