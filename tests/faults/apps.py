"""Puts the quick stage in the place of the real ones, and a clock that can be stepped.

Installed in every process of the site under test, by `tests.faults.settings` alone.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings

true_time = time.time


def _stepped(clock: Path) -> float:
    """Seconds since the epoch, beside the true ones by what the file says."""
    try:
        return true_time() + float(clock.read_text())
    except (OSError, ValueError):
        return true_time()


class FaultsConfig(AppConfig):
    """The site's machine as the fault suite needs it."""

    name = "tests.faults"
    label = "faults"

    def ready(self) -> None:
        from django.utils import timezone

        from crucible.jobs import stages

        stages.MODULES.update(dict.fromkeys(stages.MODULES, "tests.faults.quick_stage"))
        clock = settings.FAULTS_CLOCK
        time.time = lambda: _stepped(clock)
        timezone.now = lambda: datetime.fromtimestamp(_stepped(clock), tz=UTC)
