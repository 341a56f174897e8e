"""Moves submissions on in tests, as hints and the reconciler would; looks at processes."""

from __future__ import annotations

from pathlib import Path

from crucible.entries.models import Submission
from crucible.jobs.pipeline import submission_advance


def advance(submission: Submission, times: int = 12) -> Submission:
    """So many rounds, then the submission as it stands."""
    for _ in range(times):
        submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    return submission


def alive(pid: int) -> bool:
    """Whether the process is there and is not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
