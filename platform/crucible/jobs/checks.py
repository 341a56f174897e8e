"""Refuses to start with settings under which a hint could run twice at once or wait for hours."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import Error, register


@register()
def task_limit_below_visibility_timeout(**kwargs: Any) -> list[Error]:
    """A broker hands an unacknowledged task out again after its visibility timeout."""
    limit, timeout = settings.CELERY_TASK_TIME_LIMIT, settings.CELERY_VISIBILITY_TIMEOUT
    if limit < timeout:
        return []
    return [
        Error(
            f"A task may run {limit} s; the broker gives it to another worker after {timeout} s.",
            hint="Keep CELERY_TASK_TIME_LIMIT below CELERY_VISIBILITY_TIMEOUT.",
            id="crucible.E001",
        )
    ]
