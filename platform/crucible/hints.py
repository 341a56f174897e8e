"""Hints: messages that say “look at this submission”. Losing or doubling one harms nothing.

A hint is sent by the name of its task, so that whoever changes a submission need not know the
pipeline, which does the task (`crucible.jobs.tasks`).
"""

from __future__ import annotations

import logging
from functools import partial

from django.db import transaction

from crucible.celery import app

logger = logging.getLogger(__name__)
ADVANCE = "crucible.jobs.tasks.advance_submission_task"  # the task's name in every broker's queue


def send_hint(submission_id: int) -> bool:
    """Sends the hint; False when the broker is not there, which the reconciler makes good."""
    try:
        app.send_task(ADVANCE, args=[submission_id], ignore_result=True, retry=False)
    except Exception as error:  # each broker's client has its own; none may hurt the caller
        logger.warning("no hint for submission %s: %s", submission_id, error)
        return False
    return True


def _send_now(submission_id: int) -> None:
    send_hint(submission_id)


def hint_on_commit(submission_id: int) -> None:
    """Sends the hint once the transaction is committed."""
    transaction.on_commit(partial(_send_now, submission_id))
