"""States, tracks, stages and faults: one definition for the site and the command line."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
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


# Nothing more happens by itself.
TERMINAL = frozenset({State.PUBLISHED, State.CANCELLED, State.FAILED, State.DISQUALIFIED})


class Track(StrEnum):
    """What a participant may do with data (DCLM paper, appendix C.1)."""

    FILTERING = "filtering"
    MIXING = "mixing"


class Stage(StrEnum):
    """The stages; each is a module that runs as its own process."""

    VALIDATE = "validate"
    SCAN = "scan"
    PROFILE = "profile"
    TOKENIZE = "tokenize"
    TRAIN = "train"
    EVALUATE = "evaluate"
    SCORE = "score"


# They run beside the chain of the others.
BESIDE = frozenset({Stage.SCAN, Stage.PROFILE})


class Fault(StrEnum):
    """Who has to act on a failure."""

    PARTICIPANT = "participant"
    INFRASTRUCTURE = "infrastructure"
