"""The Celery application, with its one task decorator."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery import Celery

from crucible import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crucible.settings")

broker.install()
app = Celery("crucible")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def hint_task(name: str) -> Callable[[Callable[..., None]], Any]:
    """The decorator of every task: a hint that may be lost, doubled or late without harm.

    The limits come from the settings. A task calls one service, which is short and idempotent, and
    returns nothing.
    """
    return app.task(name=name, ignore_result=True, acks_late=True)
