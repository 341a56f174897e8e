"""One revision number for each board, raised in the transaction of each change."""

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
ON_A_BOARD = (State.PUBLISHED, State.DISQUALIFIED)  # now or before


class Revision(NamedTuple):
    """The number of a board's last change, and its age in seconds by the database's clock."""

    number: int
    age: float


def board_touch(track: str, scale: str) -> None:
    """Raises the revision number; call it in the transaction that changes the board."""
    board = BoardRevision.objects.filter(track=track, scale=scale)
    if not board.update(number=F("number") + 1, changed_at=Now()):
        BoardRevision.objects.get_or_create(track=track, scale=scale)
        board.update(number=F("number") + 1, changed_at=Now())
    board_changed.send(sender=BoardRevision, track=track, scale=scale)


def board_touch_for(submission: Submission) -> None:
    """The same for the board of a submission that is or was published."""
    if submission.state in ON_A_BOARD:
        board_touch(submission.track, submission.scale)


def revision_of(track: str, scale: str) -> Revision:
    """The board's revision; number 0 if it never changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select number, extract(epoch from clock_timestamp() - changed_at)::float8"
            " from leaderboard_boardrevision where track = %s and scale = %s",
            [track, scale],
        )
        found = cursor.fetchone()
    return Revision(*found) if found else Revision(0, float("inf"))
