"""The decision about an item from its verdicts: pure rules over the append-only history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from crucible.review.models import VerdictKind


class VerdictLike(Protocol):
    """The fields of a verdict that these rules read."""

    kind: str
    reviewer_id: int
    created_at: datetime


@dataclass(frozen=True)
class Decision:
    """`kind` is the verdict in force, or None; `is_open`: the item waits for a reviewer.

    `second_needed`: one reviewer wants to disqualify, and a second one must agree.
    """

    kind: str | None
    is_open: bool
    second_needed: bool


def decide(verdicts: Sequence[VerdictLike], appealed_at: datetime | None) -> Decision:
    """The decision from the verdicts of one item, in order, and the time of the appeal.

    The last verdict is in force; to disqualify, the last two, by two reviewers. An appeal reopens
    every item except false alarms. The old decision stays in force until the next verdict.
    """
    force: VerdictLike | None = None
    wanted: VerdictLike | None = None
    for verdict in verdicts:
        agreed = wanted is not None and wanted.reviewer_id != verdict.reviewer_id
        if verdict.kind != VerdictKind.DISQUALIFY or agreed:
            force, wanted = verdict, None
        elif force is None or force.kind != VerdictKind.DISQUALIFY or _old(force, appealed_at):
            wanted = verdict
    appealed = force is not None and _old(force, appealed_at)
    again = appealed and force is not None and force.kind != VerdictKind.FALSE_ALARM
    return Decision(
        kind=None if force is None else force.kind,
        is_open=force is None or wanted is not None or again,
        second_needed=wanted is not None,
    )


def _old(verdict: VerdictLike, appealed_at: datetime | None) -> bool:
    return appealed_at is not None and verdict.created_at < appealed_at
