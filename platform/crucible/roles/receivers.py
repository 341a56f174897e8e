"""Who gets an account becomes a participant."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models.signals import post_save
from django.dispatch import receiver

from crucible.roles.services import Role


@receiver(post_save, sender=User)
def new_users_are_participants(instance: User, created: bool, raw: bool, **kwargs: Any) -> None:
    """Accounts are made by commands, by the admin and by libraries: this is where all pass."""
    if created and not raw:
        instance.groups.add(*Group.objects.filter(name=Role.PARTICIPANT))
