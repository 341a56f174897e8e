"""Every move of a submission goes into the outbox."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from crucible.entries.moves import Move, submission_moved
from crucible.notifications.services import notices_add


@receiver(submission_moved)
def tell_of_the_move(move: Move, **kwargs: Any) -> None:
    """Writes the notices in the transaction of the move, so that none is forgotten."""
    notices_add(event=move.event)
