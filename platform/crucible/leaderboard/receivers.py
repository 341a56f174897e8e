"""Raises a board's revision number after changes in other apps."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.dispatch import receiver

from crucible.entries.models import Submission
from crucible.entries.moves import Move, submission_moved
from crucible.leaderboard.revisions import board_touch, board_touch_for
from submissions.states import State


@receiver(submission_moved)
def raise_revision_after_move(move: Move, **kwargs: Any) -> None:
    """After a publication, a disqualification, or a verdict that takes one back."""
    board_touch_for(move.submission)


@receiver(post_save, sender=User)
def raise_revision_after_rename(
    instance: User, created: bool, update_fields: Collection[str] | None = None, **kwargs: Any
) -> None:
    """Boards show user names, which only the admin changes."""
    if created or (update_fields is not None and "username" not in update_fields):
        return
    published = Submission.objects.filter(user=instance, state=State.PUBLISHED)
    for track, scale in published.order_by().values_list("track", "scale").distinct():
        board_touch(track, scale)
