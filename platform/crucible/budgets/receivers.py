"""What a move of a submission changes in its team's budget."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from crucible.budgets.services import budget_settle
from crucible.entries.moves import Move, submission_moved
from submissions.states import Fault, State


@receiver(submission_moved)
def refund_at_the_end(move: Move, **kwargs: Any) -> None:
    """Refunds what is due when a submission ends without a score."""
    if move.to not in (State.FAILED, State.CANCELLED):
        return
    failure = move.submission.failure or {}
    budget_settle(
        submission=move.submission,
        ending=move.to,
        failure_code=failure.get("code", ""),
        ours=failure.get("fault") == Fault.INFRASTRUCTURE,
    )
