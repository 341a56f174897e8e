"""Looks again and again at what is due and sends the hint anew: no message has to arrive.

One at a time: a PostgreSQL advisory lock makes every further reconciler a stand-by.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import DatabaseError, connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from crucible.entries.models import Submission
from crucible.hints import send_hint
from crucible.jobs.models import LIVE, OCCUPYING, Attempt, AttemptState, Beat
from crucible.jobs.pipeline import LONGEST_PERIOD
from crucible.jobs.queue import slots_grant
from submissions.states import TERMINAL

logger = logging.getLogger(__name__)
LOCK = 4_201_177  # any number, the same in every reconciler of an installation
RECONCILER = "reconciler"  # the name of its beat
PERIOD = 0.5  # seconds between looks
HINT_PATIENCE = timedelta(seconds=20)  # a hint that nobody took up by then is sent again
BATCH = 10  # hints that are claimed together: a broker may take 10 ms and more for each
BEAT_PERIOD = 5.0  # seconds between notes that the reconciler lives


def due_submissions_claim() -> list[int]:
    """The submissions that need a hint now, marked as hinted in the same transaction."""
    # A time further ahead than anybody waits was written by a clock that was wrong.
    timely = Q(due_at__lte=Now()) | Q(due_at__gt=Now() + LONGEST_PERIOD * 2)
    # Only what is queued may wait without a time: whoever has a slot is never forgotten.
    granted = Attempt.objects.filter(submission=OuterRef("id"), state__in=OCCUPYING)
    timely |= Q(Exists(granted), due_at=None)
    fresh = Q(hinted_at__gte=Now() - HINT_PATIENCE) & Q(hinted_at__lte=Now())
    with transaction.atomic():
        due = (
            Submission.objects.select_for_update(skip_locked=True)
            .exclude(state__in=TERMINAL)
            .filter(timely)
            .exclude(fresh)
            .order_by("due_at")
            .values_list("id", flat=True)[:BATCH]
        )
        ids = list(due)
        Submission.objects.filter(id__in=ids).update(hinted_at=Now())
    return ids


def reconcile_once() -> int:
    """One look: free slots go to whoever is next, due ones get hints; returns how many it sent."""
    waiting = Attempt.objects.filter(state=AttemptState.QUEUED).order_by().distinct()
    for backend in waiting.values_list("backend", flat=True):
        slots_grant(backend)
    stragglers = Attempt.objects.filter(state__in=LIVE, submission__state__in=TERMINAL)
    began, due = time.monotonic(), list(stragglers.values_list("submission_id", flat=True)[:BATCH])
    sent = sum(send_hint(submission_id) for submission_id in dict.fromkeys(due))
    # What a slow broker leaves for the next look has not been claimed either.
    while time.monotonic() - began < PERIOD and (due := due_submissions_claim()):
        sent += sum(send_hint(submission_id) for submission_id in due)
    return sent


def beat(seconds: float) -> None:
    """Notes that the reconciler lives, and how long the longest look since the last note took."""
    Beat.objects.update_or_create(
        name=RECONCILER, defaults={"at": timezone.now(), "seconds": seconds}
    )


def _leading() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def reconcile_forever(stopped: Callable[[], bool]) -> None:
    """The reconciler's life: lead if nobody does, look, sleep; survives the database's absence."""
    leading, beaten, longest = False, 0.0, 0.0
    while not stopped():
        try:
            if not leading:
                leading = _leading()
                if leading:
                    logger.info("reconciling every %s s", PERIOD)
            if leading:
                began = time.monotonic()
                reconcile_once()
                now = time.monotonic()
                longest = max(longest, now - began)
                if now - beaten > BEAT_PERIOD:
                    beat(longest)
                    beaten, longest = now, 0.0
        except DatabaseError as error:
            logger.warning("the database is away: %s", error)
            leading = False  # the lock went with its connection
            connection.close()
        time.sleep(PERIOD)
