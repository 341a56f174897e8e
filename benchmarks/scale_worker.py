"""The site's Celery worker with one difference: a launched job is a folder, not a process.

`celery -A benchmarks.scale_worker worker`, started by benchmarks/scale.py, whose own process then
plays all jobs: it holds their locks, writes their progress and ends them.
"""

from __future__ import annotations

import os
from pathlib import Path

import django
from celery.signals import worker_process_init

from crucible.celery import app
from crucible.jobs.backends.base import JobSpec
from crucible.jobs.backends.local import LocalBackend


def _leave_to_the_benchmark(_self: LocalBackend, directory: Path, _spec: JobSpec) -> None:
    (directory / "to-be-played").touch()


LocalBackend._spawn = _leave_to_the_benchmark  # type: ignore[method-assign]

django.setup()
from django.conf import settings  # noqa: E402  (need the line above)

from crucible.jobs import pipeline  # noqa: E402
from crucible.leaderboard.records import answers_of_records  # noqa: E402

READ = 8  # records, as many as one comparison or board reads at a time, and some more
SPEED = float(os.environ.get("SCALE_SPEED", "1"))  # above 1 in a soak: benchmarks/scale.py --soak
pipeline.LOOKS_A_SECOND = int(pipeline.LOOKS_A_SECOND * SPEED)  # at running jobs


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _like_one_that_made_boards(**_: object) -> None:
    """Reads some answers before the soak begins: what the libraries take for it is no leak."""
    if SPEED > 1:
        for path in sorted(settings.RECORDS_DIR.glob("*.parquet"))[:READ]:
            answers_of_records(path.stem)


__all__ = ["app"]
