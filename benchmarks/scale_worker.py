"""The site's Celery worker with one difference: a launched job is a folder, not a process.

`celery -A benchmarks.scale_worker worker`, started by benchmarks/scale.py, whose own process then
plays all jobs: it holds their locks, writes their progress and ends them.
"""

from __future__ import annotations

import os
from pathlib import Path

import django

from crucible.celery import app
from crucible.jobs.backends.local import LocalBackend


def _leave_to_the_benchmark(_self: LocalBackend, directory: Path, _module: str) -> None:
    (directory / "to-be-played").touch()


LocalBackend._spawn = _leave_to_the_benchmark  # type: ignore[method-assign]

django.setup()
from crucible.jobs import pipeline  # noqa: E402  (has models, which need the line above)

# More looks at running jobs than the usual ten a second: benchmarks/scale.py --soak.
pipeline.LOOKS_A_SECOND = int(pipeline.LOOKS_A_SECOND * float(os.environ.get("SCALE_SPEED", "1")))
__all__ = ["app"]
