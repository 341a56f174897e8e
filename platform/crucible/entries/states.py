"""The life of a submission: its states and the only moves that are allowed between them."""

from __future__ import annotations

from django.db.models import TextChoices


class State(TextChoices):
    """Where a submission stands; docs/pipeline.md explains each."""

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


class Track(TextChoices):
    """What a participant may do with data (DCLM paper, appendix C.1)."""

    FILTERING = "filtering"
    MIXING = "mixing"


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
    # By reviewers alone, who may judge again.
    State.PUBLISHED: {State.DISQUALIFIED},
    State.DISQUALIFIED: {State.PUBLISHED},
    State.CANCELLED: set(),
    # By a retry alone, back to where it failed.
    State.FAILED: {
        State.SUBMITTED, State.VALIDATING, State.TOKENIZING, State.TRAINING, State.EVALUATING,
        State.SCORING, State.REVIEWING,
    },
}  # fmt: skip
# Nothing more happens by itself.
TERMINAL = {State.PUBLISHED, State.CANCELLED, State.FAILED, State.DISQUALIFIED}
