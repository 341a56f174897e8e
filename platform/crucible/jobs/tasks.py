"""The one Celery task. Losing it, doubling it or delaying it changes nothing but the time."""

from __future__ import annotations

import logging

from crucible.celery import hint_task

logger = logging.getLogger(__name__)


@hint_task
def advance_submission_task(submission_id: int) -> None:
    """Moves a submission on as far as it goes now."""
    from crucible.jobs.pipeline import submission_advance

    submission_advance(submission_id=submission_id)


def send_hint(submission_id: int) -> bool:
    """Sends the task; False when the broker is not there, which the reconciler makes good."""
    try:
        advance_submission_task.apply_async([submission_id], retry=False)
    except Exception as error:  # each broker's client has its own; none may hurt the caller
        logger.warning("no hint for submission %s: %s", submission_id, error)
        return False
    return True
