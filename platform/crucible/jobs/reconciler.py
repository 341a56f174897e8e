"""Looks again and again at what is due and sends the hint anew: no message has to arrive.

One at a time: a PostgreSQL advisory lock makes every further reconciler a stand-by.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import DatabaseError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from crucible.entries.models import Submission
from crucible.entries.states import TERMINAL
from crucible.jobs.tasks import send_hint

logger = logging.getLogger(__name__)
LOCK = 4_201_177  # any number, the same in every reconciler of an installation
PERIOD = 0.5  # seconds between looks
HINT_PATIENCE = timedelta(seconds=20)  # a hint that nobody took up by then is sent again
BATCH = 200


def due_submissions_claim() -> list[int]:
    """The submissions that need a hint now, marked as hinted in the same transaction."""
    now = timezone.now()
    with transaction.atomic():
        due = (
            Submission.objects.select_for_update(skip_locked=True)
            .exclude(state__in=TERMINAL)
            .filter(Q(hinted_at=None) | Q(hinted_at__lt=now - HINT_PATIENCE), due_at__lte=now)
            .order_by("due_at")
            .values_list("id", flat=True)[:BATCH]
        )
        ids = list(due)
        Submission.objects.filter(id__in=ids).update(hinted_at=now)
    return ids


def reconcile_once() -> int:
    """One look; returns how many hints were sent."""
    return sum(send_hint(submission_id) for submission_id in due_submissions_claim())


def _leading() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def reconcile_forever(stopped: Callable[[], bool]) -> None:
    """The reconciler's life: lead if nobody does, look, sleep; survives the database's absence."""
    leading = False
    while not stopped():
        try:
            if not leading:
                leading = _leading()
                if leading:
                    logger.info("reconciling every %s s", PERIOD)
            if leading:
                reconcile_once()
        except DatabaseError as error:
            logger.warning("the database is away: %s", error)
            leading = False  # the lock went with its connection
            connection.close()
        time.sleep(PERIOD)
