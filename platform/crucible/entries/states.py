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
    PUBLISHED = "published"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"


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
    State.SCORING: {State.PUBLISHED, *_ENDINGS},
    State.CANCELLING: {State.CANCELLED},
    State.PUBLISHED: set(),
    State.CANCELLED: set(),
    State.FAILED: set(),
}
TERMINAL = {state for state, following in TRANSITIONS.items() if not following}
