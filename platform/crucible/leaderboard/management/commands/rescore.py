"""`manage.py rescore`: scores stored answers under newer metric versions, and softly."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from crucible.leaderboard.services import rescore_all, soften_all


class Command(BaseCommand):
    """Safe to run at any time, any number of times."""

    help = "Adds the scores that published submissions lack under a metric version, and soft means."

    def handle(self, *args: Any, **options: Any) -> None:
        added, impossible = rescore_all()
        self.stdout.write(f"{added} scores added")
        self.stdout.write(f"soft means added to {soften_all()} scores")
        if impossible:
            self.stdout.write(
                f"{impossible} submissions skipped: this site no longer has the suite that they "
                "answered"
            )
