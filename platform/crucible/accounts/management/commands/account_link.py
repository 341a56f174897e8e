"""`manage.py account_link NAME`: prints a link to hand out where no mail arrives."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from crucible.accounts.links import CONFIRM, SET_PASSWORD, link_hand_out
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from submissions.failures import Failure


class Command(BaseCommand):
    """Prints only the link, on standard output."""

    help = "Print a link on which a user sets a password, or confirms the mail address."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--confirm", action="store_true", help="a link that confirms the mail address"
        )
        parser.add_argument(
            "--without-second-factor",
            action="store_true",
            help="also removes the second factor of a user who lost it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"there is no user {options['username']!r}")
        what = CONFIRM if options["confirm"] else SET_PASSWORD
        try:
            with transaction.atomic():
                link = link_hand_out(user=user, what=what, actor=None)
                if options["without_second_factor"]:
                    _without_second_factor(user)
        except Failure as failure:
            raise CommandError(failure.message) from None
        self.stdout.write(link)


def _without_second_factor(user: User) -> None:
    gone, _ = Authenticator.objects.filter(user=user).delete()
    if gone:
        act_record(
            actor=None, what=ActKind.DELETED, about=f"second factor of user {user.pk}", on_whom=user
        )
