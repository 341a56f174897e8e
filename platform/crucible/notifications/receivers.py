"""Puts every move of a submission into the outbox."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from crucible.entries.moves import Move, submission_moved
from crucible.notifications.services import notices_add


@receiver(submission_moved)
def write_notices(move: Move, **kwargs: Any) -> None:
    """Writes the notices in the transaction of the move, so that none is lost."""
    notices_add(event=move.event)
