"""`manage.py create_user NAME [--staff]`: creates an account and prints its password once."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from crucible.lookalikes import lookalike


class Command(BaseCommand):
    """Prints only the password, on standard output."""

    help = "Create an account with a random password and print the password once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--staff", action="store_true", help="an organiser: may see and do everything"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, staff = options["username"], options["staff"]
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
        create = User.objects.create_superuser if staff else User.objects.create_user
        create(name, password=password)
        self.stdout.write(password)
