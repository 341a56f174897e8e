"""The one Celery task. Losing it, doubling it or delaying it changes nothing but the time."""

from __future__ import annotations

from crucible.celery import hint_task
from crucible.hints import ADVANCE
from crucible.jobs.pipeline import submission_advance


@hint_task(ADVANCE)
def advance_submission_task(submission_id: int) -> None:
    """Moves a submission on as far as it goes now."""
    submission_advance(submission_id=submission_id)
