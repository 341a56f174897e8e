"""`manage.py invite [NOTE]`: prints a link with which one person makes an account."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from crucible.accounts.invitations import DAYS, invitation_create
from crucible.accounts.links import invitation_link


class Command(BaseCommand):
    """Prints only links, one a line, on standard output."""

    help = "Print links, each of which lets one person make an account."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("note", nargs="?", default="", help="for whom it is")
        parser.add_argument("--number", type=int, default=1, help="how many links")
        parser.add_argument("--days", type=float, default=DAYS, help=f"default: {DAYS}")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.CRUCIBLE_SIGN_UP == "closed":
            raise CommandError("CRUCIBLE_SIGN_UP is closed: an invitation would open nothing")
        if options["number"] < 1 or options["days"] <= 0:
            raise CommandError("--number and --days must be more than 0")
        for _ in range(options["number"]):
            secret = invitation_create(
                note=options["note"][:80], made_by=None, days=options["days"]
            )
            self.stdout.write(invitation_link(secret))
