"""Sends the notices of the outbox, each until it arrives or is given up."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import smtplib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import DatabaseError, connection, transaction
from django.urls import reverse
from django.utils import timezone

from crucible.entries.models import Event
from crucible.logs import logged_about
from crucible.notifications.models import Notice
from crucible.notifications.post import Unreachable, post
from crucible.notifications.services import webhook_key
from crucible.redaction import redact

logger = logging.getLogger(__name__)
PERIOD = 1.0  # seconds between passes
BATCH = 20
LEASE = timedelta(minutes=5)  # longer than a batch takes; after it, another sender takes over
PAUSES = [timedelta(seconds=s) for s in (10, 60, 300, 1800, 7200, 43200)]  # then it is given up


def _claim() -> list[Notice]:
    """Claims the notices that are due; other senders skip them during the lease."""
    now = timezone.now()
    with transaction.atomic():
        due = (
            Notice.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(sent_at=None, gave_up_at=None, due_at__lte=now)
            .select_related("event__submission__user", "webhook")
            .order_by("due_at")[:BATCH]
        )
        claimed = list(due)
        Notice.objects.filter(id__in=[notice.id for notice in claimed]).update(due_at=now + LEASE)
    return claimed


def outbox_send_once() -> int:
    """One pass; returns how many notices were sent."""
    return sum(_deliver(notice) for notice in _claim())


def _deliver(notice: Notice) -> bool:
    with logged_about(notice.event.submission_id):
        try:
            if notice.webhook is None:
                _mail(notice)
            else:
                _post(notice)
        except (Unreachable, OSError, smtplib.SMTPException) as error:
            _put_off(notice, redact(str(error)) or type(error).__name__)
            return False
    Notice.objects.filter(id=notice.id).update(
        sent_at=timezone.now(), tries=notice.tries + 1, last_error=""
    )
    return True


def _put_off(notice: Notice, error: str) -> None:
    """Schedules another try after a growing pause; gives up after the last one."""
    now, last = timezone.now(), notice.tries >= len(PAUSES)
    logger.warning("notice %s was not delivered: %s", notice.id, error)
    Notice.objects.filter(id=notice.id).update(
        tries=notice.tries + 1,
        last_error=error[:200],
        gave_up_at=now if last else None,
        due_at=now if last else now + PAUSES[notice.tries],
    )


def address_of(event: Event) -> str:
    """The page of the event's submission."""
    return settings.CRUCIBLE_SITE + reverse("submission", args=[event.submission_id])


def payload(notice: Notice) -> dict[str, Any]:
    """The JSON that a webhook receives; docs/monitoring.md describes it."""
    event = notice.event
    submission = event.submission
    return {
        "id": str(notice.id),
        "time": event.created_at.isoformat(),
        "submission": submission.id,
        "name": submission.name,
        "track": submission.track,
        "scale": submission.scale,
        "from": event.from_state,
        "to": event.to_state,
        "failure": event.detail.get("code"),
        "fault": event.detail.get("fault"),
        "url": address_of(event),
    }


def signature(key: str, time_sent: int, body: bytes) -> str:
    """HMAC-SHA256 over the time, a dot and the body, in hexadecimal."""
    return hmac.new(key.encode(), f"{time_sent}.".encode() + body, hashlib.sha256).hexdigest()


def _post(notice: Notice) -> None:
    assert notice.webhook is not None
    body = json.dumps(payload(notice)).encode()
    now = int(time.time())
    signed = signature(webhook_key(notice.webhook), now, body)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "crucible",
        "X-Crucible-Delivery": str(notice.id),
        "X-Crucible-Signature": f"t={now},v1={signed}",
    }
    post(notice.webhook.url, body, headers)


def _mail(notice: Notice) -> None:
    event = notice.event
    name = redact(" ".join(event.submission.name.split()))
    lines = [f"Your submission {event.submission_id}, {name}, is {event.to_state}."]
    failure = event.submission.failure
    if failure and event.to_state == event.submission.state:
        lines += ["", redact(str(failure["message"])), str(failure["next_step"])]
    lines += [
        "",
        address_of(event),
        "",
        "To turn mail off: " + settings.CRUCIBLE_SITE + reverse("account"),
    ]
    send_mail(
        f"{name}: {event.to_state}",
        "\n".join(lines),
        settings.DEFAULT_FROM_EMAIL,
        [event.submission.user.email],
    )


def send_forever(stopped: Callable[[], bool]) -> None:
    """Runs in a thread beside the reconciler, so that a slow receiver delays nothing else."""
    while not stopped():
        try:
            while outbox_send_once() == BATCH and not stopped():
                pass
        except DatabaseError as error:
            logger.warning("the database is away: %s", error)
            connection.close()
        time.sleep(PERIOD)
