"""What follows from a move holds with it: the error of a receiver undoes the move."""

from __future__ import annotations

import pytest

from crucible.entries.models import Event, Submission
from crucible.entries.moves import submission_move, submission_moved
from crucible.leaderboard.models import BoardRevision
from crucible.notifications.models import Notice
from crucible.notifications.services import webhook_create
from submissions.states import State

pytestmark = pytest.mark.django_db
# Each receiver, with what it calls and a move on which it calls it.
RECEIVERS = {
    "crucible.budgets.receivers.budget_settle": State.CANCELLED,
    "crucible.notifications.receivers.notices_add": State.CANCELLED,
    "crucible.leaderboard.receivers.board_touch_for": State.PUBLISHED,
}
BEFORE = {State.CANCELLED: State.CANCELLING, State.PUBLISHED: State.REVIEWING}


class Broken(Exception):
    """What a receiver raises here."""


def broken(*arguments, **fields):
    raise Broken


@pytest.fixture
def ready(alice, make_submission):
    """A submission that may make this move, with a webhook that is told of it."""

    def make(to):
        webhook_create(user=alice, url="https://example.org/hook")
        submission = make_submission(alice)
        Submission.objects.filter(id=submission.id).update(state=BEFORE[to])
        submission.refresh_from_db()
        return submission

    return make


@pytest.mark.parametrize("called", RECEIVERS)
def test_the_error_of_a_receiver_undoes_the_move(ready, monkeypatch, called):
    to = RECEIVERS[called]
    submission = ready(to)
    events = Event.objects.count()
    monkeypatch.setattr(called, broken)
    with pytest.raises(Broken):
        submission_move(submission=submission, to=to)
    stored = Submission.objects.get()
    assert (stored.state, stored.version) == (BEFORE[to], 0)
    assert Event.objects.count() == events
    assert not Notice.objects.exists()
    assert not BoardRevision.objects.exists()
    monkeypatch.undo()
    submission.refresh_from_db()
    submission_move(submission=submission, to=to)
    assert Submission.objects.get().state == to
    assert Notice.objects.count() == 1
    assert BoardRevision.objects.exists() == (to == State.PUBLISHED)


def test_every_receiver_has_its_row_here():
    modules = {
        receiver.__module__ for _, receiver in (
            (key, reference()) for key, reference, *_ in submission_moved.receivers
        )
    }  # fmt: skip
    assert modules == {called.rpartition(".")[0] for called in RECEIVERS}
