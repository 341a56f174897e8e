"""What happens once a day, however many reconcilers there are: apps attach it to `day_passed`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import connection
from django.dispatch import Signal
from django.utils import timezone

from crucible.jobs.models import Beat

logger = logging.getLogger(__name__)
day_passed = Signal()  # its receivers may take their time: they run in a thread of their own
DAILY = "daily"  # the name of its beat: when it was last begun
DAY = timedelta(days=1)
PERIOD = 600.0  # seconds between looks at the calendar


def daily_once() -> bool:
    """Sends the signal if nobody has for a day; whether it did. Errors of receivers are logged."""
    now, began = timezone.now(), time.monotonic()
    _, first = Beat.objects.get_or_create(name=DAILY, defaults={"at": now, "seconds": 0.0})
    if not first and not Beat.objects.filter(name=DAILY, at__lte=now - DAY).update(at=now):
        return False
    for receiver, answer in day_passed.send_robust(sender=None):
        if isinstance(answer, Exception):
            logger.error("%s failed", receiver, exc_info=answer)
    Beat.objects.filter(name=DAILY).update(seconds=time.monotonic() - began)
    return True


def daily_forever(stopped: Callable[[], bool]) -> None:
    """Looks now and then whether a day has passed; survives the database's absence."""
    while not stopped():
        try:
            daily_once()
        except Exception:
            logger.exception("what is due once a day")
        connection.close()
        end = time.monotonic() + PERIOD
        while time.monotonic() < end and not stopped():
            time.sleep(1)
