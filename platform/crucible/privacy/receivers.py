"""What the settings let go is removed once a day."""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import receiver

from crucible.jobs.daily import day_passed
from crucible.privacy.retention import retention_run

logger = logging.getLogger(__name__)


@receiver(day_passed)
def remove_what_is_old(**kwargs: Any) -> None:
    for line in retention_run(dry_run=False):
        logger.info("retention: %s", line)
