"""Moves submissions on in tests, as hints and the reconciler would."""

from __future__ import annotations

from crucible.entries.models import Submission
from crucible.jobs.pipeline import submission_advance


def advance(submission: Submission, times: int = 12) -> Submission:
    """So many rounds, then the submission as it stands."""
    for _ in range(times):
        submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    return submission
