"""Reads the results of a submission's stages."""

from __future__ import annotations

from crucible.entries.models import Submission
from crucible.jobs.models import AttemptState
from submissions.job import ResultDocument
from submissions.states import Stage


def results_of(submission: Submission) -> dict[Stage, ResultDocument]:
    """The results of the stages that succeeded."""
    return {
        Stage(attempt.stage): document
        for attempt in submission.attempts.all()
        if attempt.state == AttemptState.SUCCEEDED
        and (document := attempt.result_document) is not None
    }
