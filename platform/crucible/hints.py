"""Hints: messages that say “look at this submission”. Losing or doubling one does no harm.

A hint names its task as a string, so that code that changes a submission need not import the
pipeline, which runs the task (`crucible.jobs.tasks`).
"""

from __future__ import annotations

import logging
from functools import partial

from django.db import transaction

from crucible.celery import app

logger = logging.getLogger(__name__)
ADVANCE = "crucible.jobs.tasks.advance_submission_task"  # the task's name in every broker's queue


def send_hint(submission_id: int) -> bool:
    """Sends the hint; False if the broker is away: the reconciler sends it again later."""
    try:
        app.send_task(ADVANCE, args=[submission_id], ignore_result=True, retry=False)
    except Exception as error:  # each broker's client has its own; none may reach the caller
        logger.warning("no hint for submission %s: %s", submission_id, error)
        return False
    return True


def _send_now(submission_id: int) -> None:
    send_hint(submission_id)


def hint_on_commit(submission_id: int) -> None:
    """Sends the hint after the transaction commits."""
    transaction.on_commit(partial(_send_now, submission_id))
