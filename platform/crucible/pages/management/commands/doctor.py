"""`manage.py doctor`: what `crucible doctor site` runs, and the supervisor before it starts."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from crucible.pages.site_checks import all_checks, checks_before_start
from submissions.codec import to_json
from submissions.diagnosis import Diagnosis, diagnosis_of, rendered


class Command(BaseCommand):
    """Exits with 1 where a check that matters is bad."""

    help = "Check the site: settings, database, broker, schedulers, disk, services."
    requires_system_checks: list[str] = []  # they are among the checks

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument(
            "--starting", action="store_true",
            help="only what must hold before the start, and print only what does not",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        found = diagnosis_of(checks_before_start() if options["starting"] else all_checks())
        if options["json"]:
            self.stdout.write(json.dumps(to_json(found)))
        elif options["starting"]:
            bad = [check for check in found.checks if not check.ok]
            if bad:
                self.stdout.write(rendered(Diagnosis(bad, found.ok)))
        else:
            self.stdout.write(rendered(found))
        if not found.ok:
            sys.exit(1)
