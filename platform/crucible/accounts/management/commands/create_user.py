"""`manage.py create_user NAME [--role ROLE]`: creates an account, prints its password once."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from crucible.lookalikes import lookalike
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from crucible.roles.services import Role, role_give

ROLES = [Role.REVIEWER.value, Role.ORGANISER.value, Role.ADMINISTRATOR.value]


class Command(BaseCommand):
    """Prints only the password, on standard output."""

    help = "Create an account with a random password and print the password once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--role", choices=ROLES, action="append", default=[], metavar="ROLE",
            help=f"{', '.join(ROLES)}; may be repeated; every account is a participant",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["username"]
        try:
            User.username_validator(name)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        like = lookalike(name, User.objects.values_list("username", flat=True))
        if like is not None and like != name:
            self.stderr.write(f"{name!r} looks like the user {like!r}: is it another person?")
        if User.objects.filter(username=name).exists():
            raise CommandError(f"there is a user {name!r} already: use `manage.py changepassword`")
        password = secrets.token_urlsafe(12)
        with transaction.atomic():
            user = User.objects.create_user(name, password=password)
            act_record(
                actor=None, what=ActKind.ACCOUNT_CREATED, about=f"user {user.pk}", on_whom=user
            )
            for role in options["role"]:
                role_give(user=user, role=Role(role), actor=None)
        self.stdout.write(password)
