"""`manage.py rescore`: scores of stored answers under metric versions that came later."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from crucible.leaderboard.services import rescore_all


class Command(BaseCommand):
    """May be run at any time, any number of times."""

    help = "Adds the scores that published submissions lack under a metric version."

    def handle(self, *args: Any, **options: Any) -> None:
        added, impossible = rescore_all()
        self.stdout.write(f"{added} scores added")
        if impossible:
            self.stdout.write(
                f"{impossible} submissions left alone: they answered a suite that this site no "
                "longer has"
            )
