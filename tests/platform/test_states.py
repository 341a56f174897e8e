"""The life of a submission: allowed moves, compare-and-set, an append-only history."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from crucible.entries.models import Event, Submission
from crucible.entries.moves import StaleState, submission_move
from crucible.entries.states import TRANSITIONS
from crucible.intake.services import submission_cancel
from submissions.failures import Failure
from submissions.states import TERMINAL, State

pytestmark = pytest.mark.django_db


def test_every_state_is_in_the_table_and_every_path_ends():
    assert set(TRANSITIONS) == set(State)
    assert {State.PUBLISHED, State.FAILED, State.CANCELLED, State.DISQUALIFIED} == TERMINAL
    for state in set(State) - TERMINAL:
        reached, frontier = set(), {state}
        while frontier:
            reached |= frontier
            frontier = set().union(*(TRANSITIONS[s] for s in frontier)) - reached
        assert reached & TERMINAL, f"{state} leads nowhere"


def test_only_moves_of_the_table_are_possible(alice, make_submission):
    for origin in State:
        for to in State:
            if to in TRANSITIONS[origin]:
                continue
            submission = make_submission(alice)
            submission.state = origin
            with pytest.raises(ValueError, match="cannot go from"):
                submission_move(submission=submission, to=to)
            assert Submission.objects.get(id=submission.id).state == State.SUBMITTED
        if origin == State.VALIDATING:
            break  # two origins show the rule; the table itself is data


def test_a_move_writes_its_event_and_a_rival_is_told(alice, make_submission):
    submission = make_submission(alice)
    rival = Submission.objects.get(id=submission.id)
    submission_move(submission=submission, to=State.VALIDATING)
    with pytest.raises(StaleState):
        submission_move(submission=rival, to=State.VALIDATING)
    events = Event.objects.filter(submission=submission).values_list("kind", "sequence")
    assert list(events) == [("submitted", 0), ("validating", 1)]
    assert Submission.objects.get(id=submission.id).version == 1


def test_history_can_be_neither_changed_nor_deleted(alice, make_submission):
    event = make_submission(alice).events.get()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Event.objects.filter(id=event.id).update(kind="something nicer")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        Event.objects.filter(id=event.id).delete()
    assert Event.objects.get(id=event.id).kind == "submitted"


def test_the_database_refuses_a_failure_without_a_reason(alice, make_submission):
    submission = make_submission(alice)
    with pytest.raises(IntegrityError, match="a_failure_has_a_reason"), transaction.atomic():
        Submission.objects.filter(id=submission.id).update(state=State.FAILED)


def test_only_owner_and_staff_cancel_and_only_once(alice, bob, staff, make_submission):
    submission = make_submission(alice)
    with pytest.raises(Failure) as refused:
        submission_cancel(submission_id=submission.id, actor=bob)
    assert refused.value.code == "not_found"
    assert Submission.objects.get(id=submission.id).state == State.SUBMITTED
    submission_cancel(submission_id=submission.id, actor=staff)
    submission_cancel(submission_id=submission.id, actor=alice)  # again: no second event
    assert [e.kind for e in submission.events.all()] == ["submitted", "cancelling"]


def test_creation_is_refused_in_one_sentence_with_no_effect(alice, bob, make_submission):
    for fields, code in (
        ({"track": "guessing"}, "unknown_track"),
        ({"scale": "9b-1x"}, "unknown_scale"),
        ({"scale": "7b-2x"}, "refused"),  # a real scale, but this site does not run it
        ({"name": "  "}, "refused"),
    ):
        with pytest.raises(Failure) as refused:
            make_submission(alice, **fields)
        assert refused.value.code == code
    assert not Submission.objects.exists()
