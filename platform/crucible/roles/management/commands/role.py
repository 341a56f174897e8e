"""`manage.py role`: shows who has which role, gives roles and takes them."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from crucible.roles.services import Role, rights_of, role_give, role_take
from submissions.failures import Failure

ROLES = [role.value for role in Role]


class Command(BaseCommand):
    """Prints one line a user: name and rights."""

    help = "Show the roles of a user, or of all who may enter the admin; give and take roles."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?")
        parser.add_argument("--give", choices=ROLES, action="append", default=[], metavar="ROLE",
                            help=", ".join(ROLES))  # fmt: skip
        parser.add_argument("--take", choices=ROLES, action="append", default=[], metavar="ROLE")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["username"]
        if name is None:
            if options["give"] or options["take"]:
                raise CommandError("name the user who gets or loses the role")
            for one in User.objects.filter(is_staff=True, is_active=True).order_by("username"):
                self._show(one)
            return
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"there is no user {name!r}")
        try:
            for role in options["give"]:
                role_give(user=user, role=Role(role), actor=None)
            for role in options["take"]:
                role_take(user=user, role=Role(role), actor=None)
        except Failure as failure:
            raise CommandError(failure.message) from failure
        self._show(user)

    def _show(self, user: User) -> None:
        rights = sorted(rights_of(user)) or ["no role"]
        door = "" if user.is_staff else " (not in the admin)"
        self.stdout.write(f"{user.get_username()}: {', '.join(rights)}{door}")
