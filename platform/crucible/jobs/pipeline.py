"""Moves one submission one step on. Everything here may be called at any time, any number of times.

Each step is one transaction under the submission's row lock. A launch takes two: the first commits
the intent (an `Attempt` with its key), the second acts on it and adopts what an interrupted
predecessor already started.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from crucible.entries.models import Submission
from crucible.entries.services import StaleState, event_add, submission_move
from crucible.entries.states import State
from crucible.jobs.backends import DEFAULT, backend_get
from crucible.jobs.backends.base import JobState, JobStatus
from crucible.jobs.models import LIVE, Attempt, AttemptState, Stage
from crucible.jobs.stages import STAGE_OF, STATE_OF, spec_of, stage_after
from crucible.leaderboard.services import score_publish
from submissions.failures import Failure

logger = logging.getLogger(__name__)
POLL_PERIOD = timedelta(seconds=1)
MAX_STEPS = 8  # a hint goes on while there is something to do, but a task stays short


def submission_advance(*, submission_id: int) -> None:
    """Does what can be done now; returns when the submission waits for something or is over."""
    for _ in range(MAX_STEPS):
        try:
            if not _advance_once(submission_id):
                return
        except StaleState as stale:
            logger.info("%s", stale)
            return


@transaction.atomic
def _advance_once(submission_id: int) -> bool:
    submission = (
        Submission.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("upload", "user")
        .filter(id=submission_id)
        .first()
    )
    if submission is None or submission.is_over:
        return False
    try:
        with transaction.atomic():
            return _step(submission)
    except Failure as failure:  # the chain itself cannot go on: a result or the recipe is not there
        submission.refresh_from_db()
        submission_move(submission=submission, to=State.FAILED, failure=failure.as_dict())
        return False


def _step(submission: Submission) -> bool:
    """One step; True when another may follow at once."""
    state = State(submission.state)
    if state == State.SUBMITTED:
        return _enter(submission, Stage.VALIDATE)
    attempt = submission.attempts.filter(state__in=LIVE).first()
    if state == State.CANCELLING:
        return _cancel(submission, attempt)
    if attempt is None:
        return _begin_attempt(submission, STAGE_OF[state])
    if attempt.state == AttemptState.LAUNCHING:
        return _launch(submission, attempt)
    return _follow(submission, attempt)


def _enter(submission: Submission, stage: Stage) -> bool:
    submission_move(submission=submission, to=STATE_OF[stage])
    return _begin_attempt(submission, stage)


def _begin_attempt(submission: Submission, stage: Stage) -> bool:
    """Commits the intent to launch; the launch itself is the next step."""
    number = submission.attempts.filter(stage=stage).count() + 1
    Attempt.objects.create(
        submission=submission, stage=stage, number=number, backend=DEFAULT,
        key=f"{submission.id}-{stage.value}-a{number}",
    )  # fmt: skip
    return True


def _launch(submission: Submission, attempt: Attempt) -> bool:
    backend = backend_get(attempt.backend)
    if not backend.find(attempt.key):
        ahead, running = _queue(attempt)
        if running + ahead >= backend.slots:
            return _wait(submission, f"a free slot: {ahead} ahead, {running} running")
    attempt.submission = submission
    backend.submit(attempt.key, spec_of(attempt))
    attempt.state = AttemptState.RUNNING
    attempt.launched_at = timezone.now()
    attempt.save(update_fields=["state", "launched_at"])
    event_add(submission=submission, kind="launched", detail={"key": attempt.key})
    return _wait(submission, "the stage's next report")


def _queue(attempt: Attempt) -> tuple[int, int]:
    """How many wait before this attempt and how many run, in one snapshot of the table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) filter (where state = %s and id < %s),"
            " count(*) filter (where state = %s) from jobs_attempt where backend = %s",
            [AttemptState.LAUNCHING, attempt.id, AttemptState.RUNNING, attempt.backend],
        )
        ahead, running = cursor.fetchone()
    return ahead, running


def _follow(submission: Submission, attempt: Attempt) -> bool:
    """Looks at a running job and takes over what it says."""
    status = backend_get(attempt.backend).status(attempt.key)
    if status.progress:
        attempt.progress = status.progress
    if status.heard_at:
        attempt.heard_at = datetime.fromtimestamp(status.heard_at, tz=UTC)
    if status.state == JobState.RUNNING:
        attempt.save(update_fields=["progress", "heard_at"])
        return _wait(submission, "the stage's next report")
    if status.state == JobState.UNKNOWN:
        return _launch_again(submission, attempt)
    attempt.finished_at = timezone.now()
    if status.state == JobState.SUCCEEDED:
        return _succeed(submission, attempt, status)
    return _fail(submission, attempt, status)


def _launch_again(submission: Submission, attempt: Attempt) -> bool:
    """The backend never heard of it or was told to forget it: that counts as no attempt."""
    attempt.state = AttemptState.LAUNCHING
    attempt.save(update_fields=["state"])
    event_add(submission=submission, kind="to be launched again", detail={"key": attempt.key})
    return True


def _succeed(submission: Submission, attempt: Attempt, status: JobStatus) -> bool:
    attempt.state = AttemptState.SUCCEEDED
    attempt.result = status.document
    attempt.heard_at = attempt.finished_at
    attempt.save()
    event_add(submission=submission, kind="finished", detail={"key": attempt.key})
    following = stage_after(Stage(attempt.stage))
    if following is not None:
        return _enter(submission, following)
    score_publish(submission=submission)
    submission_move(submission=submission, to=State.PUBLISHED)
    return False


def _fail(submission: Submission, attempt: Attempt, status: JobStatus) -> bool:
    """A participant's fault ends the submission; ours is tried again a bounded number of times."""
    lost = status.state == JobState.LOST
    failure = Failure("lost", "the job ended without a word").as_dict() if lost else status.document
    attempt.state = AttemptState.LOST if lost else AttemptState.FAILED
    attempt.failure = failure
    attempt.save()
    event_add(
        submission=submission, kind="lost" if lost else "stage failed",
        detail={"key": attempt.key, "failure": failure},
    )  # fmt: skip
    assert failure is not None
    if failure["fault"] == "infrastructure" and attempt.number < settings.CRUCIBLE_STAGE_ATTEMPTS:
        return _begin_attempt(submission, Stage(attempt.stage))
    submission_move(
        submission=submission, to=State.FAILED, failure=failure, detail=_without_text(failure)
    )
    return False


def _without_text(failure: dict[str, Any]) -> dict[str, Any]:
    return {name: failure.get(name) for name in ("code", "fault", "shard", "line")}


def _cancel(submission: Submission, attempt: Attempt | None) -> bool:
    if attempt is not None:
        backend = backend_get(attempt.backend)
        if not backend.cancel(attempt.key):
            return _wait(submission, "its processes to stop")
        attempt.state = AttemptState.CANCELLED
        attempt.finished_at = timezone.now()
        attempt.save(update_fields=["state", "finished_at"])
    submission_move(submission=submission, to=State.CANCELLED)
    return False


def _wait(submission: Submission, what: str) -> bool:
    """Says what it waits for and when to look again; ends this round."""
    Submission.objects.filter(id=submission.id).update(
        waiting_for=what, due_at=timezone.now() + POLL_PERIOD, hinted_at=None
    )
    return False
