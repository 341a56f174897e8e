"""The queue: its order, its limits, its forecast, and what an organiser may do to it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from crucible.budgets.models import Membership, Team
from crucible.entries.models import Submission
from crucible.intake.services import submission_cancel, submission_hold, submission_prioritise
from crucible.jobs import pipeline, reconciler
from crucible.jobs.backends.base import BackendAway, JobState, JobStatus
from crucible.jobs.models import Attempt, AttemptState, Lane
from crucible.jobs.pipeline import submission_advance
from crucible.jobs.queue import position_of, slots_grant
from crucible.jobs.reconciler import reconcile_once
from crucible.pages.stages import waiting_for
from submissions.failures import Failure

pytestmark = pytest.mark.django_db
OTHER = "400m-1x"


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch, hints):
    monkeypatch.setattr(reconciler, "send_hint", lambda number: hints.append(number) or True)
    caches["process"].clear()


@pytest.fixture
def queued(make_submission, backend):
    """Submissions of these users, in this order, all waiting: no slot is free."""
    backend.slots = 0

    def make(*users, **fields):
        made = [make_submission(user, **fields) for user in users]
        for submission in made:
            submission_advance(submission_id=submission.id)
        assert not backend.launched
        return made

    return make


def order(backend):
    """The order in which the queue would start everything, read from the positions."""
    waiting = Attempt.objects.filter(state=AttemptState.QUEUED).select_related("submission")
    positions = {a.submission_id: position_of(a, a.submission.scale) for a in waiting}
    return sorted((s for s in positions if positions[s]), key=lambda s: positions[s].number)


def ids(*submissions):
    return [submission.id for submission in submissions]


def test_users_take_turns_and_the_older_goes_first(alice, bob, queued, backend):
    a1, a2, a3, b1, b2 = queued(alice, alice, alice, bob, bob)
    assert order(backend) == ids(a1, b1, a2, b2, a3)
    backend.slots = 3
    assert list(slots_grant("local").values()) == ids(a1, b1, a2)
    assert slots_grant("local") == {}
    assert order(backend) == ids(b2, a3)  # alice has two slots, bob one


def test_a_team_takes_turns_as_one(alice, bob, queued, backend):
    team = Team.objects.create(name="two of them")
    for user in (alice, bob):
        Membership.objects.create(team=team, user=user)
    carol = User.objects.create_user("carol")
    a1, b1, b2, c1 = queued(alice, bob, bob, carol)
    assert order(backend) == ids(a1, c1, b1, b2)


def test_priority_goes_before_turns_and_a_hold_before_all(alice, bob, staff, queued, backend):
    a1, a2, b1 = queued(alice, alice, bob)
    submission_prioritise(submission_id=a2.id, actor=staff, priority=5)
    assert order(backend) == ids(a2, b1, a1)
    submission_hold(submission_id=a2.id, actor=staff, reason="looks odd")
    assert order(backend) == ids(b1, a1) or order(backend) == ids(a1, b1)
    a2.refresh_from_db()
    assert waiting_for(a2) == "an organiser to release it: looks odd"
    backend.slots = 9
    assert a2.id not in slots_grant("local").values()
    submission_hold(submission_id=a2.id, actor=staff, reason="")
    assert list(slots_grant("local").values()) == [a2.id]
    kinds = list(a2.events.values_list("kind", flat=True))
    assert kinds[-3:] == ["prioritised", "held", "released"]


def test_a_page_that_is_asked_for_every_two_seconds_reads_the_attempts_once(alice, queued, client):
    (submission,) = queued(alice)
    client.force_login(alice)
    with CaptureQueriesContext(connection) as asked:
        page = client.get(f"/submissions/{submission.id}/").text
    assert "position 1 of 1 in the queue" in page
    assert sum('FROM "jobs_attempt"' in query["sql"] for query in asked) == 1


def test_a_lane_bounds_one_scale_and_lets_the_others_pass(alice, queued, backend, settings):
    settings.CRUCIBLE_SCALES = ["smoke", OTHER]
    s1, s2, s3 = queued(alice, alice, alice)
    big = s3
    Submission.objects.filter(id=big.id).update(scale=OTHER)
    lane = Lane.objects.create(backend="local", scale="smoke", jobs_at_once=1)
    backend.slots = 9
    assert list(slots_grant("local").values()) == ids(s1, big)
    assert slots_grant("local") == {}
    s2.refresh_from_db()
    assert "position 1 of 1 in the queue of smoke" in waiting_for(s2)
    lane.held = True
    lane.jobs_at_once = None
    lane.save()
    assert slots_grant("local") == {}
    assert waiting_for(s2) == "an organiser, who holds the queue of smoke"
    lane.delete()
    assert list(slots_grant("local").values()) == ids(s2)


def test_the_reconciler_gives_a_freed_slot_away_and_wakes_its_submission(
    alice, bob, queued, backend, succeed, hints
):
    first, second = queued(alice, bob)
    backend.slots = 1
    reconcile_once()
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.attempts.get().state == "launching"
    assert first.due_at is not None
    assert second.due_at is None
    assert first.id in hints
    submission_advance(submission_id=first.id)
    assert backend.launched == [f"{first.id}-validate-a1"]
    submission_cancel(submission_id=first.id, actor=alice)
    submission_advance(submission_id=first.id)
    reconcile_once()
    submission_advance(submission_id=second.id)
    assert backend.launched[-1] == f"{second.id}-validate-a1"


def test_the_forecast_follows_what_runs_and_what_such_jobs_took(alice, bob, queued, backend):
    running, a1, b1, a2 = queued(alice, alice, bob, alice)
    backend.slots = 1
    slots_grant("local")
    submission_advance(submission_id=running.id)
    backend.outcome = lambda key: JobStatus(
        JobState.RUNNING, {"time": 1.0, "step": 1, "of": 2, "metrics": {"eta_seconds": 40.0}}
    )
    submission_advance(submission_id=running.id)

    def seconds(submission):
        return position_of(submission.attempts.get(), "smoke").seconds

    assert order(backend) == ids(b1, a1, a2)
    assert seconds(b1) == 40.0
    assert seconds(a1) == 40.0 + 2 * 10.0  # nothing is known of validate: ten seconds each
    launched = timezone.now() - timedelta(minutes=5)
    for submission in (b1,):
        Attempt.objects.create(
            submission=submission, stage="validate", number=9, key="old", backend="local",
            state="succeeded", result={}, launched_at=launched,
            finished_at=launched + timedelta(seconds=70),
        )  # fmt: skip
    caches["process"].clear()
    assert position_of(a1.attempts.get(), "smoke").seconds == 40.0 + 2 * 70.0
    assert waiting_for(a1) == (
        "a free slot: position 2 of 3 in the queue of smoke on local, starts in about 3 min 0 s"
    )


def test_there_are_never_more_jobs_than_slots(alice, bob, make_submission, backend, succeed):
    backend.slots = 2
    submissions = [make_submission(user) for user in (alice, bob) * 2]
    done: set[str] = set()
    backend.outcome = lambda key: succeed(key) if key in done else JobStatus(JobState.RUNNING)
    for _ in range(200):
        for submission in submissions:
            submission_advance(submission_id=submission.id)
            assert len(set(backend.launched) - done) <= 2
        reconcile_once()
        done |= set(backend.launched[:-1])
        if not Attempt.objects.filter(state__in=["queued", "launching", "running"]).exists():
            break
        done |= set(backend.launched)
    assert set(Submission.objects.values_list("state", flat=True)) == {"published"}


def test_cancelling_what_waits_asks_the_backend_nothing(alice, queued, backend):
    (submission,) = queued(alice)
    submission_cancel(submission_id=submission.id, actor=alice)
    submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert (submission.state, backend.cancelled) == ("cancelled", [])
    assert order(backend) == []


def test_a_scheduler_that_is_away_is_no_verdict(alice, make_submission, backend, monkeypatch):
    submission = make_submission(alice)

    def away(*arguments):
        raise BackendAway("Slurm does not answer")

    monkeypatch.setattr(backend, "submit", away)
    submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert submission.waiting_for == "Slurm does not answer"
    assert Attempt.objects.get().state == "launching"
    monkeypatch.undo()


def test_a_full_disk_is_no_verdict_either(alice, make_submission, backend, monkeypatch):
    submission = make_submission(alice)
    for _ in range(3):
        submission_advance(submission_id=submission.id)

    def full(key):
        raise OSError(28, "No space left on device")

    backend.outcome = full
    submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert "No space left" in submission.waiting_for
    assert Attempt.objects.get().state == "running"


def test_a_disk_that_stays_full_ends_a_submission_after_ever_longer_pauses(
    alice, make_submission, backend
):
    submission = make_submission(alice)
    for _ in range(3):
        submission_advance(submission_id=submission.id)

    def full(key):
        raise OSError(28, "No space left on device")

    backend.outcome = full
    pauses = []
    for _ in range(pipeline.MOST_OS_ERRORS):
        submission_advance(submission_id=submission.id)
        submission.refresh_from_db()
        assert submission.state == "validating"
        pauses.append(round((submission.due_at - timezone.now()).total_seconds()))
    assert pauses[:5] == [5, 10, 20, 40, 60]
    assert 30 * 60 < sum(pauses) < 45 * 60
    submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert (submission.state, submission.failure["code"]) == ("failed", "disk_full")


def test_an_unexpected_error_is_shown_forgotten_after_success_and_ends_what_it_follows(
    alice, make_submission, backend
):
    submission = make_submission(alice)
    for _ in range(3):
        submission_advance(submission_id=submission.id)
    answers = [ValueError("a bug")] * 4 + [None] + [ValueError("a bug")] * 11

    def outcome(key):
        error = answers.pop(0)
        if error:
            raise error
        return JobStatus(JobState.RUNNING)

    backend.outcome = outcome
    for _ in range(15):
        submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert "unexpected error (ValueError: a bug)" in submission.waiting_for
    assert (submission.troubles, submission.state) == (10, "validating")
    submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert (submission.state, submission.failure["code"]) == ("failed", "internal_error")


def test_a_job_that_hangs_is_stopped_and_attempted_again(alice, make_submission, backend, settings):
    submission = make_submission(alice)
    same = JobStatus(JobState.RUNNING, {"time": 1.0, "step": 1, "of": 2})
    waiting = JobStatus(JobState.RUNNING, note="Slurm: pending (Resources)")
    backend.outcome = lambda key: same
    for _ in range(4):
        submission_advance(submission_id=submission.id)
    attempt = Attempt.objects.get()
    old = timezone.now() - timedelta(seconds=settings.CRUCIBLE_SILENCE + 1)
    Attempt.objects.update(heard_at=old)
    backend.outcome = lambda key: waiting  # a scheduler speaks for it
    submission_advance(submission_id=submission.id)
    assert backend.cancelled == []
    Attempt.objects.update(heard_at=old)
    backend.outcome = lambda key: same
    submission_advance(submission_id=submission.id)
    attempt.refresh_from_db()
    assert backend.cancelled == [attempt.key]
    assert attempt.state == "lost"
    assert f"{submission.id}-validate-a2" in backend.launched


def test_a_launch_that_is_refused_for_good_ends_its_attempt(
    alice, make_submission, backend, monkeypatch
):
    def refuse(*arguments):
        raise Failure("launch_refused", "there is no such partition")

    monkeypatch.setattr(backend, "submit", refuse)
    submission = make_submission(alice)
    for _ in range(6):
        submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert (submission.state, submission.failure["code"]) == ("failed", "launch_refused")
    assert {attempt.state for attempt in Attempt.objects.all()} == {"failed"}


def test_many_running_jobs_are_looked_at_less_often(alice, make_submission, backend, monkeypatch):
    monkeypatch.setattr("crucible.jobs.pipeline.LOOKS_A_SECOND", 1)
    submission = make_submission(alice)
    for _ in range(3):
        submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert submission.due_at - timezone.now() < timedelta(seconds=2)
    Attempt.objects.bulk_create(
        Attempt(submission=make_submission(alice), stage="train", number=1, backend="local",
                key=f"other-{n}", state="running")
        for n in range(5)
    )  # fmt: skip
    submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert submission.due_at - timezone.now() > timedelta(seconds=4)


def test_an_organiser_steers_the_queue_in_the_admin(alice, staff, queued, backend):
    (submission,) = queued(alice)
    client = Client()
    client.force_login(staff)

    def act(action, **more):
        form = {"action": action, "_selected_action": submission.id} | more
        page = client.post("/admin/entries/submission/", form, follow=True).text
        submission.refresh_from_db()
        return page

    assert "Give a reason" in act("hold")
    act("hold", reason="to be looked at")
    assert submission.held_for == "to be looked at"
    act("release")
    act("raise_priority")
    act("raise_priority")
    act("lower_priority")
    assert (submission.held_for, submission.priority) == ("", 1)
    assert "cannot be retried" in act("retry")
    client.post("/admin/jobs/lane/add/", {"backend": "local", "scale": "smoke", "held": "on"})
    assert "holds the queue" in waiting_for(submission)
    assert client.get("/admin/jobs/lane/").status_code == 200
    act("cancel")
    assert submission.state == "cancelling"
