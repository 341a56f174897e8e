"""When a board has changed: one number a board, raised in the transaction of each change."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.dispatch import Signal

from crucible.entries.models import Submission
from crucible.leaderboard.models import BoardRevision
from submissions.states import State

board_changed = Signal()  # sent with `track` and `scale`, in the transaction of the change
SHOWN = (State.PUBLISHED, State.DISQUALIFIED)  # states of what is or was on a board


class Revision(NamedTuple):
    """The number of a board's last change, and its age in seconds by the database's clock."""

    number: int
    age: float


def board_touch(track: str, scale: str) -> None:
    """Notes a change of a board; call it in the transaction that makes the change."""
    board = BoardRevision.objects.filter(track=track, scale=scale)
    if not board.update(number=F("number") + 1, changed_at=Now()):
        BoardRevision.objects.get_or_create(track=track, scale=scale)
        board.update(number=F("number") + 1, changed_at=Now())
    board_changed.send(sender=BoardRevision, track=track, scale=scale)


def board_touch_for(submission: Submission) -> None:
    """The same for the board of a submission, if it is or was on one."""
    if submission.state in SHOWN:
        board_touch(submission.track, submission.scale)


def revision_of(track: str, scale: str) -> Revision:
    """The board's revision; number 0 of one that never changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select number, extract(epoch from clock_timestamp() - changed_at)::float8"
            " from leaderboard_boardrevision where track = %s and scale = %s",
            [track, scale],
        )
        found = cursor.fetchone()
    return Revision(*found) if found else Revision(0, float("inf"))
