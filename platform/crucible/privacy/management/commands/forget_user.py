"""`manage.py forget_user NAME`: anonymises a user for good and keeps the scores."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from crucible.privacy.forget import user_forget
from submissions.failures import Failure


class Command(BaseCommand):
    """There is no way back, so the name has to be given twice."""

    help = "Forget a user: name, address, password, tokens, sessions, webhooks. Scores stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--yes-forget", metavar="USERNAME", required=True,
                            help="the name once more: this cannot be undone")  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        if options["yes_forget"] != options["username"]:
            raise CommandError("the two names differ; nothing was changed")
        try:
            name = user_forget(username=options["username"])
        except Failure as failure:
            raise CommandError(f"{failure.message}. {failure.next_step}") from failure
        self.stdout.write(f"the user is forgotten; scores and history name {name}")
