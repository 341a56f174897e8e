"""`manage.py reconcile`: runs the reconciler until it is told to stop."""

from __future__ import annotations

import signal
import threading
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand

from crucible.jobs.daily import daily_forever
from crucible.jobs.reconciler import SENDER, beat, reconcile_forever
from crucible.notifications.sender import send_forever


class Command(BaseCommand):
    """One reconciler leads, others stand by. Notices and daily work have threads of their own."""

    help = "Look for submissions that are due and send their hints; send mails and webhooks."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        threading.Thread(
            target=send_forever, args=[stop.is_set, partial(beat, SENDER)], daemon=True
        ).start()
        threading.Thread(target=daily_forever, args=[stop.is_set], daemon=True).start()
        reconcile_forever(stop.is_set)
