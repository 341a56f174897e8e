"""Sends the notices of the outbox, each until it arrives or is given up."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import smtplib
import time
from collections import Counter
from collections.abc import Callable, Collection
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils import timezone

from crucible.entries.models import Event
from crucible.logs import logged_about
from crucible.notifications.models import Notice
from crucible.notifications.post import Unreachable, post
from crucible.notifications.services import webhook_key
from crucible.redaction import redact

logger = logging.getLogger(__name__)
BEAT_PERIOD = 5.0  # seconds between heartbeats
PERIOD = 1.0  # seconds between passes, and the longest wait for a delivery within one
AT_ONCE = 16  # deliveries in progress
PER_USER = 2  # of these, to one user
PER_HOST = 4  # and to one host, the mail server included
CANDIDATES = 500  # rows read to choose the next deliveries
LEASE = timedelta(minutes=5)  # longer than a delivery takes; after it, another sender takes over
PAUSES = [timedelta(seconds=s) for s in (10, 60, 300, 1800, 7200, 43200)]  # then it is given up


class Outbox:
    """Delivers what is due, several notices at once; slow receivers delay only themselves.

    Each delivery has a thread, which never asks the database. The threads are daemons: notices that
    they hold when the process ends are sent again after their lease.
    """

    def __init__(self) -> None:
        self._flying: dict[UUID, Notice] = {}
        self._ended: SimpleQueue[tuple[Notice, str | None]] = SimpleQueue()

    def advance(self) -> int:
        """Starts deliveries, waits up to `PERIOD` for one to end; returns how many ended."""
        for notice in _claim(self._flying.values()):
            Thread(target=self._deliver, args=[notice], daemon=True).start()
            self._flying[notice.id] = notice
        count = 0
        while self._flying:
            try:
                notice, error = self._ended.get(timeout=0 if count else PERIOD)
            except Empty:
                break
            del self._flying[notice.id]
            _record(notice, error)
            count += 1
        return count

    def _deliver(self, notice: Notice) -> None:
        self._ended.put((notice, _attempt(notice)))

    @property
    def idle(self) -> bool:
        """Whether no delivery is in progress."""
        return not self._flying


def _claim(flying: Collection[Notice]) -> list[Notice]:
    """Claims due notices, first the oldest of each user; other senders skip them during the lease.

    `flying`: the deliveries in progress, which count against the limits for users and hosts.
    """
    now = timezone.now()
    due = Notice.objects.filter(sent_at=None, gave_up_at=None, due_at__lte=now)
    chosen = _choose(due, flying)
    with transaction.atomic():
        claimed = list(
            due.filter(id__in=chosen)
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("event__submission__user", "webhook")
        )
        Notice.objects.filter(id__in=[notice.id for notice in claimed]).update(due_at=now + LEASE)
    return claimed


def _choose(due: Any, flying: Collection[Notice]) -> list[UUID]:
    users = Counter(notice.event.submission.user_id for notice in flying)
    hosts = Counter(_host(notice.webhook.url if notice.webhook else None) for notice in flying)
    user = F("event__submission__user")
    rank = Window(RowNumber(), partition_by=[user], order_by=F("due_at").asc())
    rows = (
        due.annotate(rank=rank, receiver=user)
        .filter(rank__lte=PER_USER)
        .order_by("rank", "due_at")
        .values_list("id", "receiver", "webhook__url")
    )
    chosen: list[UUID] = []
    for notice_id, user_id, url in rows[:CANDIDATES]:
        if len(flying) + len(chosen) >= AT_ONCE:
            break
        if users[user_id] < PER_USER and hosts[_host(url)] < PER_HOST:
            users[user_id] += 1
            hosts[_host(url)] += 1
            chosen.append(notice_id)
    return chosen


def _host(url: str | None) -> str:
    """The host that an address names; the mail server counts as one, and what is no address."""
    try:
        return (urlsplit(url).hostname or "") if url else "mail"
    except ValueError:
        return ""


def _attempt(notice: Notice) -> str | None:
    """Tries to deliver; returns why it failed, None if it did not. Raises nothing."""
    with logged_about(notice.event.submission_id):
        try:
            if notice.webhook is None:
                _mail(notice)
            else:
                _post(notice)
        except (Unreachable, OSError, smtplib.SMTPException) as error:
            return redact(str(error)) or type(error).__name__
        except Exception as error:  # nobody foresaw it; it must not end the deliveries to others
            logger.exception("notice %s", notice.id)
            return redact(str(error)) or type(error).__name__
    return None


def _record(notice: Notice, error: str | None) -> None:
    if error is not None:
        with logged_about(notice.event.submission_id):
            _put_off(notice, error)
        return
    Notice.objects.filter(id=notice.id).update(
        sent_at=timezone.now(), tries=notice.tries + 1, last_error=""
    )


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


def send_forever(stopped: Callable[[], bool], beat: Callable[[float], None]) -> None:
    """Runs in a thread beside the reconciler; no error ends it.

    `beat` is called every few seconds with the duration of the longest pass since the last time.
    """
    outbox, beaten, longest = Outbox(), 0.0, 0.0
    while not stopped():
        began, ended = time.monotonic(), 0
        try:
            ended = outbox.advance()
            longest = max(longest, time.monotonic() - began)
            if time.monotonic() - beaten > BEAT_PERIOD:
                beat(longest)
                beaten, longest = time.monotonic(), 0.0
        except Exception:
            logger.exception("notices wait until the next pass")
            connection.close()
        if not ended:
            time.sleep(PERIOD)
