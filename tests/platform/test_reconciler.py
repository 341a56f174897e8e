"""The reconciler: hints what is due, is patient with a hint, and outlives a broker's absence."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from crucible.celery import app
from crucible.entries.models import Submission
from crucible.hints import send_hint
from crucible.jobs.models import Attempt, AttemptState
from crucible.jobs.reconciler import HINT_PATIENCE, due_submissions_claim

pytestmark = pytest.mark.django_db


def test_what_is_due_is_claimed_once_until_patience_ends(alice, make_submission):
    submission = make_submission(alice)
    assert due_submissions_claim() == [submission.id]
    assert due_submissions_claim() == []
    late = timezone.now() - HINT_PATIENCE - timedelta(seconds=1)
    Submission.objects.update(hinted_at=late)
    assert due_submissions_claim() == [submission.id]


def test_what_is_not_yet_due_or_over_is_left_alone(alice, make_submission, publish):
    publish(alice)
    waiting = make_submission(alice)
    Submission.objects.filter(id=waiting.id).update(due_at=timezone.now() + timedelta(seconds=60))
    assert due_submissions_claim() == []


def test_advancing_takes_the_hint_up(alice, make_submission, backend):
    from crucible.jobs.pipeline import submission_advance

    submission = make_submission(alice)
    due_submissions_claim()
    submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert submission.hinted_at is None
    assert submission.due_at > timezone.now()


def test_a_dead_broker_hurts_nobody(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("the broker is away")

    monkeypatch.undo()
    monkeypatch.setattr(app, "send_task", refuse)
    assert send_hint(1) is False


def test_whoever_has_a_slot_is_never_forgotten(alice, make_submission):
    """However it came to wait without a time: only what is queued is woken by somebody else."""
    submission = make_submission(alice)
    attempt = Attempt.objects.create(
        submission=submission, stage="validate", number=1, backend="local",
        key=f"{submission.id}-validate-a1",
    )  # fmt: skip
    Submission.objects.update(due_at=None)
    assert due_submissions_claim() == []
    Attempt.objects.filter(id=attempt.id).update(state=AttemptState.LAUNCHING)
    assert due_submissions_claim() == [submission.id]
