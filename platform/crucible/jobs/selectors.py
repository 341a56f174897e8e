"""Reads what the stages of a submission have made."""

from __future__ import annotations

from typing import Any

from crucible.entries.models import Submission
from crucible.jobs.models import AttemptState


def results_of(submission: Submission) -> dict[str, dict[str, Any]]:
    """The result documents of the stages that succeeded, by stage."""
    return {
        attempt.stage: attempt.result or {}
        for attempt in submission.attempts.all()
        if attempt.state == AttemptState.SUCCEEDED
    }
