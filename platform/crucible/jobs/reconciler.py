"""The reconciler: grants slots, and sends hints for everything that is due.

Any hint may be lost: it is sent again. One works at a time: a PostgreSQL advisory lock makes every
other reconciler a stand-by.
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
from crucible.jobs.pipeline import LONGEST_PERIOD, SCORED
from crucible.jobs.queue import slots_grant
from submissions.states import TERMINAL, Stage

logger = logging.getLogger(__name__)
LOCK = 4_201_177  # any number, the same in every reconciler of an installation
RECONCILER, SENDER = "reconciler", "sender"  # names of heartbeats
PERIOD = 0.5  # seconds between passes
HINT_PATIENCE = timedelta(seconds=20)  # after this, a hint that no worker took up is sent again
BATCH = 10  # hints claimed together: a broker may need 10 ms or more for each
BEAT_PERIOD = 5.0  # seconds between heartbeats


def due_submissions_claim() -> list[int]:
    """Returns the submissions that need a hint now, and marks them as hinted in one transaction."""
    # A wrong clock wrote any time that is further ahead than the longest pause.
    timely = Q(due_at__lte=Now()) | Q(due_at__gt=Now() + LONGEST_PERIOD * 2)
    # Only queued attempts may wait without a time: a submission with a slot is always due.
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
    """One pass: grants free slots and sends hints for due submissions; returns how many hints."""
    waiting = Attempt.objects.filter(state=AttemptState.QUEUED).order_by().distinct()
    for backend in waiting.values_list("backend", flat=True):
        slots_grant(backend)
    stragglers = Attempt.objects.filter(state__in=LIVE, submission__state__in=TERMINAL).exclude(
        # A profile goes on after the score: when it is due, or has got a slot.
        Q(stage=Stage.PROFILE, submission__state__in=SCORED)
        & (Q(submission__due_at__gt=Now()) | Q(submission__due_at=None, state=AttemptState.QUEUED))
    )
    began, due = time.monotonic(), list(stragglers.values_list("submission_id", flat=True)[:BATCH])
    sent = sum(send_hint(submission_id) for submission_id in dict.fromkeys(due))
    # With a slow broker, submissions that this pass does not reach stay unclaimed.
    while time.monotonic() - began < PERIOD and (due := due_submissions_claim()):
        sent += sum(send_hint(submission_id) for submission_id in due)
    return sent


def beat(name: str, seconds: float) -> None:
    """Stores a heartbeat with the seconds of the longest pass since the last one."""
    Beat.objects.update_or_create(name=name, defaults={"at": timezone.now(), "seconds": seconds})


def _leading() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def reconcile_forever(stopped: Callable[[], bool]) -> None:
    """Runs until stopped: lead if nobody does, make a pass, sleep; waits for a lost database."""
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
                    beat(RECONCILER, longest)
                    beaten, longest = now, 0.0
        except DatabaseError as error:
            logger.warning("the database is away: %s", error)
            leading = False  # the lock went with its connection
            connection.close()
        time.sleep(PERIOD)
