"""Moves one submission one step forward. Every function may be called at any time, repeatedly.

Each step is one transaction under the submission's row lock. A launch takes two: the first commits
the intent (an `Attempt` with its key), the second acts on it and adopts what an interrupted
predecessor already started.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Coalesce, Least, Now
from django.utils import timezone

from crucible.budgets.services import budget_consume
from crucible.entries.models import Submission
from crucible.entries.moves import event_add, submission_move
from crucible.entries.states import EventKind
from crucible.hints import hint_on_commit
from crucible.jobs.access import access_give, access_take_back
from crucible.jobs.backends import backend_get, backend_name_for
from crucible.jobs.backends.base import BackendAway, JobState, JobStatus
from crucible.jobs.models import LIVE, Attempt, AttemptState
from crucible.jobs.queue import slots_grant
from crucible.jobs.selectors import results_of
from crucible.jobs.stages import STAGE_OF, STATE_OF, spec_of, stage_after
from crucible.leaderboard.services import score_create
from crucible.logs import logged_about
from crucible.profiles.services import profile_take_over
from crucible.redaction import cleaned, redact
from crucible.review.selectors import review_waits_for, scan_exists
from crucible.review.services import scan_take_over, store_clean_score, submission_settle
from submissions.failures import Failure
from submissions.job import as_failure
from submissions.states import BESIDE, Fault, Stage, State

logger = logging.getLogger(__name__)
LOOKS_A_SECOND = 10  # at running jobs together, so that many of them do not drown the worker
POLL_PERIOD = timedelta(seconds=1)  # between looks at one of them, while they are few
AWAY_PERIOD = timedelta(seconds=5)  # before a scheduler that did not answer is asked again
LONGEST_PERIOD = timedelta(minutes=1)
# Unexpected errors in a row that end a submission. A bug rarely passes: a few minutes of tries. A
# disk or a network may recover: pauses grow up to a minute, and 40 of them take 37 minutes.
MOST_BUGS, BUG_PERIOD = 10, timedelta(seconds=20)
MOST_OS_ERRORS, FIRST_PAUSE = 40, timedelta(seconds=5)
SCORED = frozenset({State.PUBLISHED, State.DISQUALIFIED})  # a profile that runs yet goes on
MAX_STEPS = 8  # a hint goes on while there is something to do, but a task stays short


def submission_advance(*, submission_id: int) -> None:
    """Takes every step that is possible now; returns when the submission waits or is over."""
    with logged_about(submission_id):
        for _ in range(MAX_STEPS):
            if not _advance_once(submission_id):
                return


@transaction.atomic
def _advance_once(submission_id: int) -> bool:
    submission = (
        Submission.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("upload", "user")
        .filter(id=submission_id)
        .first()
    )
    if submission is None:
        return False
    if submission.is_over:
        if State(submission.state) in SCORED and (left := live_profile(submission)):
            return _profile_step(submission, left)
        return _stop_rest(submission)
    try:
        with transaction.atomic():
            return _step(submission)
    except BackendAway as away:  # says nothing about the job: nothing changes
        logger.warning("will ask again: %s", away)
        submission.refresh_from_db()
        return _wait(submission, str(away), AWAY_PERIOD)
    except OSError as error:  # a full disk or a missing file: it may pass, or not
        logger.warning("will try again: %s", error)
        submission.refresh_from_db()
        pause = min(FIRST_PAUSE * 2 ** min(submission.troubles, 10), LONGEST_PERIOD)
        return _trouble(submission, error, MOST_OS_ERRORS, pause)
    except Failure as failure:  # the chain cannot continue: a result or the recipe is missing
        submission.refresh_from_db()
        return _end(submission, failure.as_dict())
    except (OperationalError, InterfaceError):  # the database is away: not the submission's fault
        raise
    except Exception as error:  # a bug: say so, retry for a while, then end the submission
        logger.exception("an unexpected error")
        submission.refresh_from_db()
        return _trouble(submission, error, MOST_BUGS, BUG_PERIOD)


def _trouble(submission: Submission, error: Exception, most: int, pause: timedelta) -> bool:
    """Counts an unexpected error; more than `most` in a row end the submission."""
    count = submission.troubles + 1
    if count > most and submission.state != State.CANCELLING:
        return _end(submission, cleaned(as_failure(error).as_dict()))
    what = redact(f"{type(error).__name__}: {error}")
    _wait(submission, f"the platform, which met an unexpected error ({what})", pause)
    Submission.objects.filter(id=submission.id).update(troubles=count)
    return False


def _step(submission: Submission) -> bool:
    """One step; True when another may follow at once."""
    state = State(submission.state)
    if state == State.SUBMITTED:
        return _enter(submission, Stage.VALIDATE)
    if state == State.CANCELLING:
        return _cancel(submission)
    live = {Stage(attempt.stage): attempt for attempt in submission.attempts.filter(state__in=LIVE)}
    scan, profile = live.pop(Stage.SCAN, None), live.pop(Stage.PROFILE, None)
    if state != State.VALIDATING and (_scan(submission, scan) or _profile(submission, profile)):
        return True
    if state == State.REVIEWING:
        again = _settle(submission)
    elif live:
        again = _go_on(submission, next(iter(live.values())))
    else:
        return _begin_attempt(submission, STAGE_OF[state])
    for beside in (scan, profile):
        if beside is not None and beside.state == AttemptState.RUNNING:
            due = Least(Coalesce("due_at", Now() + LONGEST_PERIOD), Now() + _look_period(beside))
            Submission.objects.filter(id=submission.id).update(due_at=due)
    return again


def _go_on(submission: Submission, attempt: Attempt) -> bool:
    """One step of a live attempt."""
    step = {AttemptState.QUEUED: _ask_for_a_slot, AttemptState.LAUNCHING: _launch}.get(
        AttemptState(attempt.state), _follow
    )
    with logged_about(submission.id, attempt.key):
        return step(submission, attempt)


def _scan(submission: Submission, attempt: Attempt | None) -> bool:
    """One step of the scan beside the chain; True when something changed."""
    if attempt is not None:
        return _go_on(submission, attempt)
    if scan_exists(submission) or _given_up(submission):
        return False
    return _begin_attempt(submission, Stage.SCAN)


def _profile(submission: Submission, attempt: Attempt | None) -> bool:
    """One step of the profile beside the chain; True when something changed."""
    if attempt is not None:
        return _profile_step(submission, attempt)
    last = submission.attempts.filter(stage=Stage.PROFILE).last()
    if last is not None:  # it succeeded, or `_fail` saw that no other will follow
        return False
    return _begin_attempt(submission, Stage.PROFILE)


def _profile_step(submission: Submission, attempt: Attempt) -> bool:
    """One step of a live profile. No error in it is an error of the submission."""
    try:
        with transaction.atomic():
            return _go_on(submission, attempt)
    except BackendAway as away:
        logger.warning("will ask again: %s", away)
        return _wait(submission, str(away), AWAY_PERIOD)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("the profile is given up")
        attempt.refresh_from_db()
        attempt.state, attempt.finished_at = AttemptState.FAILED, timezone.now()
        attempt.failure = cleaned(as_failure(error).as_dict())
        attempt.save(update_fields=["state", "finished_at", "failure"])
        return True


def live_profile(submission: Submission) -> Attempt | None:
    """The attempt at a profile that is under way, if there is one."""
    found: Attempt | None = submission.attempts.filter(stage=Stage.PROFILE, state__in=LIVE).first()
    return found


def _given_up(submission: Submission) -> Attempt | None:
    """The scan's last attempt, if no other will follow."""
    last: Attempt | None = submission.attempts.filter(stage=Stage.SCAN).last()
    return last if last and last.failure and not _may_try_again(submission, last) else None


def _enter(submission: Submission, stage: Stage) -> bool:
    submission_move(submission=submission, to=STATE_OF[stage])
    return _begin_attempt(submission, stage)


def _begin_attempt(submission: Submission, stage: Stage) -> bool:
    """Commits the intent to launch; the launch itself is a later step, once there is a slot."""
    number = submission.attempts.filter(stage=stage).count() + 1
    Attempt.objects.create(
        submission=submission, stage=stage, number=number,
        backend=backend_name_for(stage.value, submission.scale),
        key=f"{submission.id}-{stage.value}-a{number}",
    )  # fmt: skip
    return True


def _launch(submission: Submission, attempt: Attempt) -> bool:
    attempt.submission = submission
    try:
        spec = replace(spec_of(attempt), access=access_give(attempt))
        backend_get(attempt.backend).submit(attempt.key, spec)
    except Failure as failure:  # the scheduler will never take it, or what it needs is not there
        attempt.finished_at = timezone.now()
        return _fail(submission, attempt, JobStatus(JobState.FAILED, document=failure.as_dict()))
    attempt.state = AttemptState.RUNNING
    attempt.launched_at = timezone.now()
    attempt.save(update_fields=["state", "launched_at"])
    event_add(submission=submission, kind=EventKind.LAUNCHED, detail={"key": attempt.key})
    return _wait(submission, "the stage's next report")


def _ask_for_a_slot(submission: Submission, attempt: Attempt) -> bool:
    """Asks the queue for a slot; without one, the queue sends a hint when the slot is free."""
    granted = slots_grant(attempt.backend)
    for other in granted.values():
        if other != submission.id:
            hint_on_commit(other)
    if submission.id in granted.values():  # for this attempt, or the one beside it: look again
        return True
    return _wait(submission, "a free slot", None)


def _follow(submission: Submission, attempt: Attempt) -> bool:
    """Reads the status of a running job and acts on it."""
    status = backend_get(attempt.backend).status(attempt.key)
    silent = _heard(attempt, status)
    if attempt.stage == Stage.TRAIN and _has_begun(attempt, status):
        budget_consume(submission=submission)
    if status.state == JobState.RUNNING:
        attempt.save(update_fields=["progress", "heard_at"])
        if silent > settings.CRUCIBLE_SILENCE:
            return _give_up_on(submission, attempt)
        what = status.note or "the stage's next report"
        return _wait(submission, what, _look_period(attempt))
    if status.state == JobState.UNKNOWN:
        return _launch_again(submission, attempt)
    attempt.finished_at = timezone.now()
    if status.state == JobState.SUCCEEDED:
        return _succeed(submission, attempt, status)
    return _fail(submission, attempt, status)


def _heard(attempt: Attempt, status: JobStatus) -> float:
    """Stores new progress; returns the seconds since the last, by the database's clock.

    A job that still waits in its scheduler is not silent.
    """
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        now = cursor.fetchone()[0]
    progress = cleaned(status.progress)
    if (progress and progress != attempt.progress) or status.note or attempt.heard_at is None:
        attempt.progress = progress or attempt.progress
        attempt.heard_at = now
    return (now - attempt.heard_at).total_seconds()


def _give_up_on(submission: Submission, attempt: Attempt) -> bool:
    """Stops a job that hangs; it counts as lost, and the next attempt resumes its work."""
    if not backend_get(attempt.backend).cancel(attempt.key):
        return _wait(submission, "a job that hangs to stop")
    attempt.finished_at = timezone.now()
    return _fail(submission, attempt, JobStatus(JobState.LOST))


def _look_period(attempt: Attempt) -> timedelta:
    running = Attempt.objects.filter(backend=attempt.backend, state=AttemptState.RUNNING)
    return min(POLL_PERIOD * max(1.0, running.count() / LOOKS_A_SECOND), LONGEST_PERIOD)


def _has_begun(attempt: Attempt, status: JobStatus) -> bool:
    """Whether training has made a step, as far as can be seen."""
    return bool(attempt.progress.get("step")) or status.state == JobState.SUCCEEDED


def _launch_again(submission: Submission, attempt: Attempt) -> bool:
    """The backend does not know the job, so nothing ran: this counts as no attempt."""
    attempt.state = AttemptState.LAUNCHING
    attempt.save(update_fields=["state"])
    event_add(submission=submission, kind=EventKind.LAUNCHED_AGAIN, detail={"key": attempt.key})
    return True


def _succeed(submission: Submission, attempt: Attempt, status: JobStatus) -> bool:
    attempt.state = AttemptState.SUCCEEDED
    attempt.result = status.document
    attempt.heard_at = attempt.finished_at
    attempt.save()
    access_take_back(attempt)
    event_add(submission=submission, kind=EventKind.FINISHED, detail={"key": attempt.key})
    if attempt.stage == Stage.SCAN:
        assert attempt.result_document is not None  # a constraint of the table
        scan_take_over(submission=submission, result=attempt.result_document)
        return True
    if attempt.stage == Stage.PROFILE:
        assert attempt.result_document is not None  # a constraint of the table
        profile_take_over(submission=submission, result=attempt.result_document)
        return True
    following = stage_after(Stage(attempt.stage))
    if following is not None:
        return _enter(submission, following)
    score_create(submission=submission, results=results_of(submission))
    submission_move(submission=submission, to=State.REVIEWING)
    return True


def _settle(submission: Submission) -> bool:
    """After the score: waits for the scan and for reviewers, then publishes or disqualifies."""
    if not scan_exists(submission):
        last = _given_up(submission)
        if last is not None:
            return _end(submission, last.failure or {})
        return _wait(submission, "the search for leaked questions", None)
    store_clean_score(submission=submission)
    submission_settle(submission=submission)
    if submission.state == State.REVIEWING:
        return _wait(submission, review_waits_for(submission), None)
    return False


def _fail(submission: Submission, attempt: Attempt, status: JobStatus) -> bool:
    """A participant's fault ends the submission; the platform's faults are retried a few times."""
    lost = status.state == JobState.LOST
    failure = (
        Failure("lost", "the job ended without a result or a failure").as_dict()
        if lost
        else cleaned(status.document or {})
    )
    attempt.state = AttemptState.LOST if lost else AttemptState.FAILED
    attempt.failure = failure
    attempt.save()
    access_take_back(attempt)
    event_add(
        submission=submission, kind=EventKind.LOST if lost else EventKind.STAGE_FAILED,
        detail={"key": attempt.key, "failure": failure},
    )  # fmt: skip
    if _may_try_again(submission, attempt):
        return _begin_attempt(submission, Stage(attempt.stage))
    if Stage(attempt.stage) in BESIDE:  # the chain goes on; `_settle` sees to a scan
        return True
    return _end(submission, failure)


def _end(submission: Submission, failure: dict[str, Any]) -> bool:
    """Fails the submission; the next step stops its other jobs."""
    submission_move(
        submission=submission, to=State.FAILED, failure=failure, detail=_without_text(failure)
    )
    return True


def _may_try_again(submission: Submission, attempt: Attempt) -> bool:
    """Whether a failure of the platform has attempts left since submission or the last retry."""
    attempts = submission.attempts.filter(stage=attempt.stage)
    if submission.retried_at:
        attempts = attempts.filter(created_at__gte=submission.retried_at)
        if not attempts.exists():
            return True
    ours = (attempt.failure or {}).get("fault") == Fault.INFRASTRUCTURE
    return ours and attempts.count() < settings.CRUCIBLE_STAGE_ATTEMPTS


def _without_text(failure: dict[str, Any]) -> dict[str, Any]:
    return {name: failure.get(name) for name in ("code", "fault", "shard", "line")}


def _cancel(submission: Submission) -> bool:
    """Stops every job, then moves the submission to `cancelled`."""
    if not _stopped(submission):
        return _wait(submission, "its processes to stop")
    submission_move(submission=submission, to=State.CANCELLED)
    return False


def _stop_rest(submission: Submission) -> bool:
    """Stops other live attempts of a submission that is over; the reconciler calls this again."""
    try:
        _stopped(submission)
    except BackendAway as away:
        logger.info("%s", away)
    return False


def _stopped(submission: Submission) -> bool:
    """Stops every live attempt; True when none is left."""
    for attempt in submission.attempts.filter(state__in=LIVE):
        # One that waits for a slot was never launched.
        if attempt.state != AttemptState.QUEUED and not backend_get(attempt.backend).cancel(
            attempt.key
        ):
            return False
        attempt.state = AttemptState.CANCELLED
        attempt.finished_at = timezone.now()
        attempt.save(update_fields=["state", "finished_at"])
        access_take_back(attempt)
    return True


def _wait(submission: Submission, what: str, period: timedelta | None = POLL_PERIOD) -> bool:
    """Stores what the submission waits for and when it is due (None: a hint will come).

    Times are the database's, as the reconciler reads them: a worker's clock may be wrong.
    """
    Submission.objects.filter(id=submission.id).update(
        waiting_for=what[:200],
        due_at=Now() + period if period else None,
        hinted_at=None,
        troubles=0,
    )
    return False
