"""Makes a board anew after its change commits, in the process that changed it."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from crucible.boards.texts import board_refresh
from crucible.leaderboard.revisions import board_changed

logger = logging.getLogger(__name__)


@receiver(board_changed)
def refresh_after_the_change(track: str, scale: str, **kwargs: Any) -> None:
    """Waits for the commit, so that no page is rendered while a row is locked."""
    transaction.on_commit(partial(_refresh, track, scale))


def _refresh(track: str, scale: str) -> None:
    try:
        with transaction.atomic():
            board_refresh(track, scale)
    except Exception:  # no data is lost: the next request for the board makes it
        logger.exception("the board %s, %s could not be made anew", track, scale)
