"""Gives roles to users and takes them."""

from __future__ import annotations

from enum import StrEnum

from django.contrib.auth.models import Group, User
from django.db import transaction

from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from submissions.failures import Failure


class Role(StrEnum):
    """The administrator is a superuser; the other roles are groups, by these names."""

    PARTICIPANT = "participant"
    REVIEWER = "reviewer"
    ORGANISER = "organiser"
    ADMINISTRATOR = "administrator"


GROUPS = (Role.PARTICIPANT, Role.REVIEWER, Role.ORGANISER)
IN_THE_ADMIN = {Role.REVIEWER, Role.ORGANISER, Role.ADMINISTRATOR}


def rights_of(user: User) -> set[str]:
    """Roles, other groups and single permissions of a user, in words."""
    rights = set(user.groups.values_list("name", flat=True))
    rights |= {
        f"permission {app}.{name}"
        for app, name in user.user_permissions.values_list("content_type__app_label", "codename")
    }
    if user.is_superuser:
        rights.add(Role.ADMINISTRATOR)
    return rights


def rights_changed(*, user: User, before: set[str], actor: User | None) -> None:
    """After a change of rights: opens the admin's door if needed, and records what changed."""
    now = rights_of(user)
    if now & IN_THE_ADMIN and not user.is_staff:
        user.is_staff = True
        user.save(update_fields=["is_staff"])
    for what, rights in ((ActKind.GIVEN, now - before), (ActKind.TAKEN, before - now)):
        for right in sorted(rights):
            act_record(actor=actor, what=what, about=f"user {user.pk}", on_whom=user, detail=right)


@transaction.atomic
def role_give(*, user: User, role: Role, actor: User | None) -> None:
    """Gives a role, with the door of the admin where the role works there. Safe to repeat."""
    before = rights_of(user)
    if role == Role.ADMINISTRATOR:
        user.is_superuser = True
        user.save(update_fields=["is_superuser"])
    else:
        user.groups.add(_group(role))
    rights_changed(user=user, before=before, actor=actor)


@transaction.atomic
def role_take(*, user: User, role: Role, actor: User | None) -> None:
    """Takes a role, and the door of the admin with the last right there. Safe to repeat.

    Raises `refused` for the last administrator: nobody could give that role again.
    """
    before = rights_of(user)
    if role == Role.ADMINISTRATOR:
        others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
        if user.is_superuser and not others.exists():
            raise Failure("refused", "make another user administrator first: this is the only one")
        user.is_superuser = False
    else:
        user.groups.remove(_group(role))
    if rights_of(user) <= {Role.PARTICIPANT}:
        user.is_staff = False
    user.save(update_fields=["is_superuser", "is_staff"])
    rights_changed(user=user, before=before, actor=actor)


def _group(role: Role) -> Group:
    group = Group.objects.filter(name=role).first()
    if group is None:
        raise Failure("refused", f"the group {role.value} was deleted: make it again in the admin")
    return group
