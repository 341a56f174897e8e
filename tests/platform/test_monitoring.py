"""The health page and the metrics: green when all moves, red when something waits too long."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from crucible.accounts.scopes import Scope
from crucible.accounts.services import token_create
from crucible.entries.models import Submission
from crucible.intake.services import submission_hold
from crucible.jobs.backends.base import JobState, JobStatus
from crucible.jobs.models import Attempt, Beat
from crucible.jobs.pipeline import submission_advance
from crucible.jobs.reconciler import RECONCILER, SENDER, beat

pytestmark = pytest.mark.django_db


def ago(**delta):
    return timezone.now() - timedelta(**delta)


@pytest.fixture
def red(client):
    """The names of the checks that failed, after comparing page and document."""

    def look():
        answer = client.get("/health/pipeline/?format=json")
        document = answer.json()
        failed = {name for name, check in document["checks"].items() if not check["ok"]}
        page = client.get("/health/pipeline/")
        assert answer.status_code == page.status_code == (503 if failed else 200)
        assert document["ok"] is not bool(failed)
        assert ("A check is beyond its limit" in page.text) is bool(failed)
        return failed

    return look


def all_beat(seconds=0.01):
    beat(RECONCILER, seconds)
    beat(SENDER, seconds)


def test_an_idle_site_is_healthy_once_its_services_beat(db, red):
    assert red() == {"reconciler", "sender"}
    beat(RECONCILER, 0.01)
    assert red() == {"sender"}
    all_beat()
    assert red() == set()
    Beat.objects.filter(name="sender").update(at=ago(seconds=61))
    assert red() == {"sender"}
    Beat.objects.update(at=ago(seconds=61))
    assert red() == {"reconciler", "sender"}


def test_a_step_that_nobody_takes_turns_it_red(alice, make_submission, red):
    all_beat()
    submission = make_submission(alice)
    assert red() == set()
    Submission.objects.filter(id=submission.id).update(due_at=ago(minutes=3))
    assert red() == {"overdue"}
    Submission.objects.filter(id=submission.id).update(state="cancelled")
    assert red() == set()


def test_waiting_too_long_for_a_slot_turns_it_red_unless_it_is_held(
    alice, staff, make_submission, backend, red, settings
):
    all_beat()
    backend.slots = 0
    submission = make_submission(alice)
    submission_advance(submission_id=submission.id)
    assert red() == set()
    Attempt.objects.update(created_at=ago(hours=30))
    assert red() == {"waiting"}
    settings.CRUCIBLE_ALERT_WAITING = 40 * 3600
    assert red() == set()
    settings.CRUCIBLE_ALERT_WAITING = 60
    submission_hold(submission_id=submission.id, actor=staff, reason="a question")
    assert red() == set()


def test_a_running_job_that_says_nothing_turns_it_red(alice, make_submission, backend, red):
    all_beat()
    backend.outcome = lambda key: JobStatus(JobState.RUNNING, {"time": 1.0, "step": 1})
    submission = make_submission(alice)
    for _ in range(4):
        submission_advance(submission_id=submission.id)
    Attempt.objects.update(heard_at=ago(minutes=50))
    assert red() == set()
    Attempt.objects.update(heard_at=ago(minutes=70))
    assert red() == {"silent"}


LINE = re.compile(r'crucible_[a-z_]+\{([a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*)?\} [0-9.e+-]+')


def test_metrics_are_for_organisers_and_in_prometheus_form(
    alice, staff, publish, make_submission, backend
):
    publish(alice)
    backend.slots = 1
    for _ in range(3):
        submission = make_submission(alice)
        submission_advance(submission_id=submission.id)
    all_beat(0.25)
    client = Client()
    assert client.get("/metrics").status_code == 401
    for user, scopes, status in (
        (alice, [Scope.ORGANISE], 403), (staff, [Scope.READ], 403), (staff, [Scope.ORGANISE], 200),
    ):  # fmt: skip
        _, secret = token_create(user=user, label="prometheus", scopes=scopes)
        answer = client.get("/metrics", headers={"authorization": f"Bearer {secret}"})
        assert answer.status_code == status
    wrong = client.get("/metrics", headers={"authorization": "Bearer nonsense"})
    assert wrong.status_code == 401
    text = answer.text
    for line in text.strip().split("\n"):
        assert line.startswith("# ") or LINE.fullmatch(line), line
    for sample in (
        'crucible_submissions{scale="smoke",state="published"} 1.0',
        'crucible_attempts{backend="local",stage="validate",state="queued"} 2.0',
        'crucible_slots{backend="local"} 1.0',
        'crucible_slots_used{backend="local"} 1.0',
        'crucible_healthy{check="reconciler"} 1.0',
        'crucible_pass_seconds{part="reconciler"} 0.25',
    ):
        assert sample in text.split("\n"), sample
