"""`manage.py import_baselines CHECKOUT`: DCLM's published results as rows of the boards."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from crucible.leaderboard.baselines import baselines_store
from evaluation.baselines import baselines_of_checkout
from submissions.failures import Failure


class Command(BaseCommand):
    """Safe to repeat: a run that is there already is updated."""

    help = "Show the results that DCLM published beside the entries of the same scale."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "checkout", type=Path, help="a clone of https://github.com/mlfoundations/dclm"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            runs = baselines_of_checkout(options["checkout"])
        except Failure as failure:
            raise CommandError(f"{failure.message}. {failure.next_step}") from None
        new, total = baselines_store(runs)
        scales = sorted({run.scale for run in runs})
        self.stdout.write(
            f"{len(runs)} published runs at {', '.join(scales)}; {new} are new, {total} baselines"
        )
        hidden = [scale for scale in scales if scale not in settings.CRUCIBLE_SCALES]
        if hidden:
            self.stdout.write(
                f"This site keeps no boards for {', '.join(hidden)}: add them to CRUCIBLE_SCALES "
                "to show these."
            )
