"""`manage.py retention [--dry-run]`: removes what the settings let go; also done once a day."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from crucible.privacy.retention import retention_run


class Command(BaseCommand):
    """One line for each kind of thing, those that are kept for ever included."""

    help = "Remove uploads, work folders, logs and rows that are older than the settings say."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count them, remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        for line in retention_run(dry_run=options["dry_run"]):
            self.stdout.write(line)
