"""`manage.py invite [NOTE]`: prints a link with which one person makes an account."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from crucible.accounts.invitations import DAYS, invitation_create
from crucible.accounts.links import invitation_link
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from submissions.failures import Failure


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
            try:
                self.stdout.write(_link(options["note"], options["days"]))
            except Failure as failure:
                raise CommandError(failure.message) from None


@transaction.atomic
def _link(note: str, days: float) -> str:
    made, secret = invitation_create(note=note, made_by=None, days=days)
    act_record(actor=None, what=ActKind.ADDED, about=f"invitation {made.pk}")
    return invitation_link(secret)
