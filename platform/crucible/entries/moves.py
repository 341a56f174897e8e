"""The one function that changes the state of a submission, and its append-only history.

The consequences of a move are not here: apps of higher levels attach receivers to
`submission_moved`. Receivers run in the transaction of the move; an error in one undoes the move.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.dispatch import Signal

from crucible.entries.models import Event, Submission
from crucible.entries.states import TRANSITIONS, EventKind
from crucible.hints import hint_on_commit
from crucible.logs import logged_about
from submissions.states import State

logger = logging.getLogger(__name__)
PLATFORM = "crucible"
submission_moved = Signal()  # sent with `move`, a `Move`


class StaleState(Exception):
    """Another process moved the submission first; the caller must read it again."""


class Move(NamedTuple):
    """A move that has just been made, with its event."""

    submission: Submission
    origin: State
    to: State
    event: Event


def submission_move(
    *,
    submission: Submission,
    to: State,
    actor: str = PLATFORM,
    waiting_for: str = "",
    detail: dict[str, Any] | None = None,
    failure: dict[str, Any] | None = None,
) -> None:
    """Makes one allowed move by compare-and-set, with its event and all consequences.

    Raises `ValueError` for a move that `TRANSITIONS` does not allow (a bug) and `StaleState` if the
    submission has moved since it was read.
    """
    origin = State(submission.state)
    if to not in TRANSITIONS[origin]:
        raise ValueError(f"a submission cannot go from {origin} to {to}")
    with transaction.atomic():
        moved = Submission.objects.filter(
            id=submission.id, state=origin, version=submission.version
        ).update(
            state=to,
            version=F("version") + 1,
            failure=failure,
            waiting_for=waiting_for,
            due_at=Now(),
            hinted_at=None,
        )
        if not moved:
            raise StaleState(f"submission {submission.id} is no longer {origin}")
        submission.version += 1
        submission.state = to
        submission.failure = failure
        submission.waiting_for = waiting_for
        event = event_add(
            submission=submission, kind=EventKind(to), from_state=origin, actor=actor, detail=detail
        )
        submission_moved.send(sender=Submission, move=Move(submission, origin, to, event))
        hint_on_commit(submission.id)


def event_add(
    *,
    submission: Submission,
    kind: EventKind,
    from_state: str | None = None,
    actor: str = PLATFORM,
    detail: dict[str, Any] | None = None,
) -> Event:
    """Appends to the history; the caller has locked or just moved the submission's row."""
    sequence = Event.objects.filter(submission=submission).count()
    with logged_about(submission.id, (detail or {}).get("key")):
        logger.info("%s, by %s", kind, actor)
    return Event.objects.create(
        submission=submission,
        sequence=sequence,
        kind=kind,
        actor=actor,
        detail=detail or {},
        from_state=submission.state if from_state is None else from_state,
        to_state=submission.state,
    )
