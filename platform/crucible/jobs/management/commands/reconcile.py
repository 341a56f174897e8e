"""`manage.py reconcile`: runs the reconciler until it is told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from crucible.jobs.reconciler import reconcile_forever
from crucible.notifications.sender import send_forever


class Command(BaseCommand):
    """One leads, further ones stand by. Notices are sent from a thread of its own."""

    help = "Look for submissions that are due and send their hints; send mails and webhooks."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        # A daemon: what it has in hand when the process ends is sent again after its lease.
        threading.Thread(target=send_forever, args=[stop.is_set], daemon=True).start()
        reconcile_forever(stop.is_set)
