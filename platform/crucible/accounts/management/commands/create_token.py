"""`manage.py create_token USER`: prints a new API token, for scripts and for `make demo`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from crucible.accounts.services import token_create
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind


class Command(BaseCommand):
    """Prints only the secret, on standard output."""

    help = "Create an API token for a user and print it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--label", default="command line")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"there is no user {options['username']!r}")
        token, secret = token_create(user=user, label=options["label"])
        act_record(actor=None, what=ActKind.TOKEN_CREATED, about=f"token {token.pk}", on_whom=user)
        self.stdout.write(secret)
