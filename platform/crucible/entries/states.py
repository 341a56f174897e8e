"""The moves that a submission may make, and the kinds of events in its history."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import TextChoices

from submissions.states import State

_ENDINGS = {State.FAILED, State.CANCELLING}

TRANSITIONS: dict[State, set[State]] = {
    State.SUBMITTED: {State.VALIDATING, *_ENDINGS},
    State.VALIDATING: {State.TOKENIZING, *_ENDINGS},
    State.TOKENIZING: {State.TRAINING, *_ENDINGS},
    State.TRAINING: {State.EVALUATING, *_ENDINGS},
    State.EVALUATING: {State.SCORING, *_ENDINGS},
    State.SCORING: {State.REVIEWING, *_ENDINGS},
    State.REVIEWING: {State.PUBLISHED, State.DISQUALIFIED, *_ENDINGS},
    State.CANCELLING: {State.CANCELLED},
    # Only verdicts move a submission between these two states.
    State.PUBLISHED: {State.DISQUALIFIED},
    State.DISQUALIFIED: {State.PUBLISHED},
    State.CANCELLED: set(),
    # Only a retry leaves this state, for the one in which the submission failed.
    State.FAILED: {
        State.SUBMITTED, State.VALIDATING, State.TOKENIZING, State.TRAINING, State.EVALUATING,
        State.SCORING, State.REVIEWING,
    },
}  # fmt: skip


def choices_of(kind: type[StrEnum]) -> list[tuple[str, str]]:
    """The members of a pure package's enumeration as the choices of a field: value and label."""
    return [(member.value, member.name.replace("_", " ").capitalize()) for member in kind]


class EventKind(TextChoices):
    """Kinds of events in the history of a submission: its moves, and what happens between them."""

    SUBMITTED = "submitted"
    VALIDATING = "validating"
    TOKENIZING = "tokenizing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SCORING = "scoring"
    REVIEWING = "reviewing"
    PUBLISHED = "published"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"
    DISQUALIFIED = "disqualified"
    # Of an attempt at a stage.
    LAUNCHED = "launched"
    LAUNCHED_AGAIN = "to be launched again"
    FINISHED = "finished"
    LOST = "lost"
    STAGE_FAILED = "stage failed"
    # By people.
    HELD = "held"
    RELEASED = "released"
    PRIORITISED = "prioritised"
    VERDICT = "verdict"
    APPEAL = "appeal"
