"""Writes the outbox, and the choices of users: mail and webhooks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac

from crucible.entries.models import Event
from crucible.entries.states import EventKind
from crucible.notifications.models import MailChoice, Notice, Webhook
from submissions.failures import Failure
from submissions.states import TERMINAL, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST = 5  # webhooks of one user


def notices_add(*, event: Event) -> None:
    """Puts a move of a submission into the outbox, in the transaction of the move."""
    owner = event.submission.user
    hooks: list[Webhook | None] = list(Webhook.objects.filter(user=owner, removed_at=None))
    if event.to_state in TERMINAL and not _done_by(owner, event) and mail_wanted(owner):
        hooks.append(None)
    Notice.objects.bulk_create(Notice(event=event, webhook=hook) for hook in hooks)


def _done_by(owner: User, event: Event) -> bool:
    """Whether the owner cancelled it and needs no mail."""
    asked = event.submission.events.filter(kind=EventKind.CANCELLING).last()
    return (
        event.to_state == State.CANCELLED
        and asked is not None
        and asked.actor == owner.get_username()
    )


def mail_possible(user: User) -> bool:
    """Whether the site sends mail and knows the user's address."""
    return bool(settings.EMAIL_HOST and user.email)


def mail_wanted(user: User) -> bool:
    """Whether mail goes to this user."""
    return mail_possible(user) and not MailChoice.objects.filter(user=user, wanted=False).exists()


def mail_choose(*, user: User, wanted: bool) -> None:
    """Turns mail on or off."""
    MailChoice.objects.update_or_create(user=user, defaults={"wanted": wanted})


def webhooks_of(user: User) -> list[tuple[Webhook, Notice | None]]:
    """A user's webhooks, each with the newest notice to it."""
    hooks = Webhook.objects.filter(user=user, removed_at=None)
    return [(hook, hook.notices.order_by("-created_at").first()) for hook in hooks]


def webhook_key(webhook: Webhook) -> str:
    """The key that signs notices to a webhook; derived, so that no database dump contains it."""
    digest = salted_hmac("crucible.webhook", str(webhook.id), algorithm="sha256")
    return hashlib.sha256(digest.digest()).hexdigest()


def webhook_create(*, user: User, url: str) -> Webhook:
    """Adds an address. Raises `Failure` if it is not an https address or there are too many.

    `http://` is allowed only where the organiser named networks of their own. Whether an address
    may be reached is checked at each delivery, since names can point elsewhere later.
    """
    schemes = ("http", "https") if settings.CRUCIBLE_WEBHOOK_NETWORKS else ("https",)
    try:
        parts: Any = urlsplit(url)
        fine = parts.scheme in schemes and parts.hostname and parts.username is None
        _ = parts.port
    except ValueError:
        fine = False
    if not fine or len(url) > 500:
        raise Failure("refused", "give an https:// address without a user name")
    if not all("!" <= letter <= "~" for letter in url):
        raise Failure("refused", "write spaces and letters outside ASCII in the address as %-codes")
    if Webhook.objects.filter(user=user, removed_at=None).count() >= MOST:
        raise Failure("refused", f"remove a webhook first: you have {MOST}")
    return Webhook.objects.create(user=user, url=url)


def webhook_remove(*, user: User, webhook_id: UUID) -> bool:
    """Removes a webhook of this user, and gives up its unsent notices."""
    ended = Webhook.objects.filter(id=webhook_id, user=user, removed_at=None).update(
        removed_at=timezone.now()
    )
    if ended:
        Notice.objects.filter(webhook_id=webhook_id, sent_at=None, gave_up_at=None).update(
            gave_up_at=timezone.now(), last_error="the webhook was removed"
        )
    return bool(ended)
