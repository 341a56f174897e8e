"""`manage.py add_baseline RESULTS.json`: a model that an organiser evaluated, as a board's row."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from crucible.leaderboard.baselines import baselines_store
from evaluation.baselines import baseline_of_results
from submissions.failures import Failure

LONGEST = {"name": 200, "source": 400, "trained": 200}  # characters


class Command(BaseCommand):
    """Safe to repeat: the same model at the same scale is updated."""

    help = "Show a model that `crucible evaluate` asked the suite full beside a scale's entries."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("results", type=Path, help="results.json of `crucible evaluate`")
        parser.add_argument("--name", required=True, help="of the model, as the board shows it")
        parser.add_argument("--scale", required=True, help="on whose boards it is shown")
        parser.add_argument(
            "--trained", default="trained elsewhere", help="how, in a few words; %(default)s"
        )
        parser.add_argument("--source", default="", help="where the model is from, as an address")
        parser.add_argument(
            "--examples", type=Path, help="its answers; default: examples.jsonl beside the results"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for option, most in LONGEST.items():
            if len(options[option]) > most:
                raise CommandError(f"--{option} has more than {most} characters. Shorten it.")
        results = options["results"]
        try:
            baseline = baseline_of_results(
                results,
                options["examples"] or results.with_name("examples.jsonl"),
                name=options["name"],
                scale=options["scale"],
                trained=options["trained"],
                source=options["source"],
            )
        except Failure as failure:
            raise CommandError(f"{failure.message}. {failure.next_step}") from None
        new, total = baselines_store([baseline])
        done = "added" if new else "updated"
        self.stdout.write(f"{baseline.name} {done} at {baseline.scale}; {total} baselines")
        if baseline.scale not in settings.CRUCIBLE_SCALES:
            self.stdout.write(
                f"This site keeps no boards for {baseline.scale}: add it to CRUCIBLE_SCALES to "
                "show it."
            )
