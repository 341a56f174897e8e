"""Moves submissions on in tests, as hints and the reconciler would; looks at processes."""

from __future__ import annotations

from pathlib import Path

from crucible.entries.models import Submission
from crucible.jobs.pipeline import submission_advance
from crucible.notifications.models import Notice
from crucible.notifications.sender import Outbox


def advance(submission: Submission, times: int = 12) -> Submission:
    """So many rounds, then the submission as it stands."""
    for _ in range(times):
        submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    return submission


def deliver() -> int:
    """Sends what the outbox has due, as its thread would; returns how many notices arrived."""
    outbox, sent = Outbox(), Notice.objects.exclude(sent_at=None)
    before = sent.count()
    while outbox.advance() or not outbox.idle:
        pass
    return sent.count() - before


def alive(pid: int) -> bool:
    """Whether the process is there and is not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
