"""`manage.py reconcile`: runs the reconciler until it is told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from crucible.jobs.reconciler import reconcile_forever


class Command(BaseCommand):
    """One leads, further ones stand by."""

    help = "Look for submissions that are due and send their hints."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        reconcile_forever(stop.is_set)
