"""The one Celery task. Losing, doubling or delaying it changes only when work is done."""

from __future__ import annotations

from crucible.celery import hint_task
from crucible.hints import ADVANCE
from crucible.jobs.pipeline import submission_advance


@hint_task(ADVANCE)
def advance_submission_task(submission_id: int) -> None:
    """Moves a submission forward as far as it can go now."""
    submission_advance(submission_id=submission_id)
