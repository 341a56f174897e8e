"""What an item's verdicts come to: pure rules over the append-only history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from crucible.review.models import VerdictKind


class Judgement(Protocol):
    """A verdict, as far as these rules read it."""

    kind: str
    reviewer_id: int
    created_at: datetime


@dataclass(frozen=True)
class Decision:
    """`kind` is what is in force, None where nothing is; `is_open`: a reviewer has to look.

    `second_needed`: one reviewer wants to disqualify, and another one has to agree.
    """

    kind: str | None
    is_open: bool
    second_needed: bool


def decide(verdicts: Sequence[Judgement], appealed_at: datetime | None) -> Decision:
    """The verdicts of one item in their order, and when the participant appealed.

    The last verdict is in force; to disqualify, the last two, by two reviewers. An appeal opens
    every item again but false alarms; what was decided stays in force until it is judged anew.
    """
    force: Judgement | None = None
    wanted: Judgement | None = None
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


def _old(verdict: Judgement, appealed_at: datetime | None) -> bool:
    return appealed_at is not None and verdict.created_at < appealed_at
