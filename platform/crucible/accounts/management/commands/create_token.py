"""`manage.py create_token USER`: prints a new API token, for scripts and for `make demo`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from crucible.accounts.scopes import USUAL, Scope, scopes_in, scopes_offered
from crucible.accounts.services import token_create
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from submissions.failures import Failure


class Command(BaseCommand):
    """Prints only the secret, on standard output."""

    help = "Create an API token for a user and print it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--label", default="command line")
        parser.add_argument(
            "--scopes",
            default=",".join(USUAL),
            help=f"of {', '.join(Scope)}; default: {','.join(USUAL)}",
        )
        parser.add_argument(
            "--days",
            type=float,
            default=settings.CRUCIBLE_TOKEN_DAYS,
            help="how long it lasts; default: CRUCIBLE_TOKEN_DAYS",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"there is no user {options['username']!r}")
        try:
            scopes = scopes_in(options["scopes"])
        except ValueError as error:
            raise CommandError(f"{error}: the scopes are {', '.join(Scope)}") from None
        if beyond := set(scopes) - set(scopes_offered(user)):
            raise CommandError(f"{user.username!r} has no powers for: {', '.join(sorted(beyond))}")
        if not scopes or options["days"] <= 0:
            raise CommandError("a token needs a scope, and more than 0 days")
        try:
            with transaction.atomic():
                token, secret = token_create(
                    user=user, label=options["label"], scopes=scopes, days=options["days"]
                )
                act_record(
                    actor=None, what=ActKind.TOKEN_CREATED, about=f"token {token.pk}",
                    on_whom=user, detail=token.scopes,
                )  # fmt: skip
        except Failure as failure:
            raise CommandError(failure.message) from None
        self.stdout.write(secret)
