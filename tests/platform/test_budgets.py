"""Budgets: what is reserved, spent and given back, and that it adds up."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Sum
from django.test import Client

from crucible.budgets.models import Allowance, Entry, Membership, Team
from crucible.budgets.selectors import budget_rows
from crucible.budgets.services import allowance_grant, price_of
from crucible.entries.models import Submission
from crucible.intake.services import submission_cancel, submission_retry
from crucible.jobs.backends.base import JobState, JobStatus
from submissions.failures import Failure
from tests.platform.steps import advance
from training_recipes.cost import cost_of
from training_recipes.scales import load_scale

BIG = "400m-1x"
PRICE = price_of(BIG)


@pytest.fixture
def team(alice, settings):
    settings.CRUCIBLE_SCALES = ["smoke", BIG]
    made = Team.objects.create(name="laboratory")
    Membership.objects.create(team=made, user=alice)
    return made


@pytest.fixture
def grant(team, staff):
    def give(hours, concurrent=10, scale=BIG):
        return allowance_grant(
            team=team, scale=scale, concurrent=concurrent, hours=Decimal(hours),
            reason="first round", actor=staff,
        )  # fmt: skip

    return give


def kinds(submission):
    return list(submission.ledger.values_list("kind", flat=True))


def amounts():
    row = Allowance.objects.get()
    return row.available, row.reserved, row.spent


def adds_up():
    """The allowance's amounts are the sums of its entries."""
    sums = Entry.objects.aggregate(a=Sum("available"), r=Sum("reserved"), s=Sum("spent"))
    return amounts() == (sums["a"], sums["r"], sums["s"])


def at_training(backend, succeed, status):
    backend.outcome = lambda key: status if "-train-" in key else succeed(key)


def progress(step):
    return {"time": 1.0, "step": step, "of": 9, "unit": "steps", "message": "", "metrics": {}}


pytestmark = pytest.mark.django_db


def test_the_price_is_what_the_submit_page_names():
    works = cost_of(load_scale(BIG)).works
    assert float(PRICE) == pytest.approx(sum(work.device_hours for work in works), abs=0.01)
    assert price_of("smoke") == 0


def test_what_costs_nothing_is_open_to_all_and_what_costs_needs_a_budget(
    alice, bob, grant, make_submission
):
    assert kinds(make_submission(bob)) == []
    for user in (alice, bob):
        with pytest.raises(Failure) as refused:
            make_submission(user, scale=BIG)
        assert refused.value.code == "budget_exceeded"
    grant(2 * PRICE)
    make_submission(alice, scale=BIG)
    with pytest.raises(Failure, match="no budget"):
        make_submission(bob, scale=BIG)  # another's team


def test_hours_are_reserved_then_spent_at_the_first_step_and_stay_so(
    alice, grant, make_submission, backend, succeed
):
    grant(2 * PRICE)
    submission = make_submission(alice, scale=BIG)
    assert amounts() == (PRICE, PRICE, 0)
    at_training(backend, succeed, JobStatus(JobState.RUNNING, progress(0)))
    assert advance(submission).state == "training"
    assert amounts() == (PRICE, PRICE, 0)
    at_training(backend, succeed, JobStatus(JobState.RUNNING, progress(1)))
    advance(submission)
    assert amounts() == (PRICE, 0, PRICE)
    submission_cancel(submission_id=submission.id, actor=alice)
    advance(submission)
    assert kinds(submission) == ["reserve", "consume"]
    assert (submission.state, amounts()) == ("cancelled", (PRICE, 0, PRICE))
    assert adds_up()


def test_a_cancellation_before_training_gives_all_back(alice, grant, make_submission, backend):
    grant(PRICE)
    submission = make_submission(alice, scale=BIG)
    with pytest.raises(Failure, match=r"has 0\.00 left"):
        make_submission(alice, scale=BIG)
    submission_cancel(submission_id=submission.id, actor=alice)
    advance(submission)
    assert kinds(submission) == ["reserve", "refund"]
    assert submission.ledger.last().reason == "cancelled before training"
    assert amounts() == (PRICE, 0, 0)
    make_submission(alice, scale=BIG)


def test_the_platforms_failure_is_refunded_once_and_a_retry_reserves_anew(
    alice, grant, make_submission, backend, succeed
):
    grant(PRICE)
    full = Failure("disk_full", "no space left").as_dict()
    at_training(backend, succeed, JobStatus(JobState.FAILED, progress(5), full))
    submission = advance(make_submission(alice, scale=BIG), 30)
    assert submission.state == "failed"
    assert kinds(submission) == ["reserve", "consume", "refund"]
    assert submission.ledger.last().reason == "failed by the platform's fault: disk_full"
    assert amounts() == (PRICE, 0, 0)
    submission_retry(submission_id=submission.id, actor=alice)
    assert amounts() == (0, PRICE, 0)
    backend.outcome = succeed
    assert advance(submission).state == "published"
    assert kinds(submission)[3:] == ["reserve", "consume"]
    assert amounts() == (0, 0, PRICE)
    assert adds_up()


def test_a_retry_that_the_budget_does_not_allow_changes_nothing(
    alice, grant, make_submission, backend, succeed
):
    grant(PRICE)
    full = Failure("disk_full", "no space left").as_dict()
    at_training(backend, succeed, JobStatus(JobState.FAILED, progress(5), full))
    submission = advance(make_submission(alice, scale=BIG), 30)
    make_submission(alice, scale=BIG)  # takes the hours that came back
    with pytest.raises(Failure) as refused:
        submission_retry(submission_id=submission.id, actor=alice)
    assert refused.value.code == "budget_exceeded"
    submission.refresh_from_db()
    assert (submission.state, submission.retries) == ("failed", 0)


def test_a_bad_dataset_costs_nothing_before_training_and_all_after(
    alice, grant, make_submission, backend, succeed
):
    grant(2 * PRICE)
    bad = Failure("not_json", "this line is not JSON").as_dict()
    backend.outcome = lambda key: JobStatus(JobState.FAILED, {}, bad)
    assert kinds(advance(make_submission(alice, scale=BIG))) == ["reserve", "refund"]
    diverged = Failure("diverged", "the loss is no number").as_dict()
    at_training(backend, succeed, JobStatus(JobState.FAILED, progress(3), diverged))
    assert kinds(advance(make_submission(alice, scale=BIG))) == ["reserve", "consume"]
    assert amounts() == (PRICE, 0, PRICE)


def test_only_so_many_at_once_and_an_ended_one_makes_room(alice, grant, make_submission, backend):
    grant(0, concurrent=2, scale="smoke")
    first, _ = make_submission(alice), make_submission(alice)
    with pytest.raises(Failure, match="the limit is 2"):
        make_submission(alice)
    submission_cancel(submission_id=first.id, actor=alice)
    with pytest.raises(Failure):
        make_submission(alice)  # its processes still stop
    advance(first)
    make_submission(alice)


def test_a_lowered_limit_opens_nothing_and_only_what_is_left_can_be_taken_back(
    alice, grant, make_submission, backend
):
    grant(2 * PRICE)
    make_submission(alice, scale=BIG)
    with pytest.raises(Failure, match="take back at most"):
        grant(-2 * PRICE)
    grant(-PRICE, concurrent=0)
    assert amounts() == (0, PRICE, 0)
    with pytest.raises(Failure):
        make_submission(alice, scale=BIG)
    assert adds_up()


def test_the_database_refuses_an_overdraft_and_a_changed_ledger(grant):
    allowance = grant(10)
    with pytest.raises(IntegrityError, match="nothing_is_overdrawn"), transaction.atomic():
        Allowance.objects.update(available=-1)
    for change in (lambda e: e.update(available=99), lambda e: e.delete()):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change(Entry.objects.filter(allowance=allowance))


def test_whatever_happens_the_ledger_adds_up(alice, grant, make_submission, backend, succeed):
    draw = random.Random(6)
    grant(20 * PRICE, concurrent=20)
    ends = [
        lambda: JobStatus(JobState.LOST, progress(draw.randint(0, 2))),
        lambda: JobStatus(JobState.RUNNING, progress(draw.randint(0, 2))),
        lambda: JobStatus(JobState.FAILED, progress(2), Failure("lost", "gone").as_dict()),
        lambda: JobStatus(JobState.FAILED, {}, Failure("not_utf8", "bytes").as_dict()),
    ]
    backend.outcome = lambda key: succeed(key) if draw.random() < 0.8 else draw.choice(ends)()
    for _ in range(8):
        submission = make_submission(alice, scale=BIG)
        advance(submission, draw.randint(1, 12))
        if not submission.is_over and draw.random() < 0.4:
            submission_cancel(submission_id=submission.id, actor=alice)
            advance(submission, 2)
        assert adds_up()
    for submission in Submission.objects.filter(state="published"):
        assert kinds(submission)[-1] == "consume"
    for submission in Submission.objects.filter(state="cancelled"):
        assert kinds(submission)[-1] in ("consume", "refund")
    assert Submission.objects.count() == 8


def test_pages_show_a_team_its_own_ledger_alone(alice, bob, staff, grant, make_submission):
    grant(2 * PRICE)
    submission = make_submission(alice, scale=BIG, name="costly")
    client = Client()
    assert client.get("/budget/").status_code == 302
    client.force_login(alice)
    page = client.get("/budget/").text
    assert "first round" in page
    assert "costly" in page
    assert f"{PRICE} h" in page
    assert f"{PRICE} h" in client.get("/submissions/new/").text
    page = client.get(f"/submissions/{submission.id}/").text
    assert f"{PRICE} H100-hours of" in page
    assert "are reserved" in page
    client.force_login(bob)
    page = client.get("/budget/").text
    assert "first round" not in page
    assert "ask an organiser" in page
    assert [row.refusal is None for row in budget_rows(bob)] == [True, False]


def test_an_organiser_grants_in_the_admin_with_a_reason(staff, team):
    client = Client()
    client.force_login(staff)
    form = {"team": team.id, "scale": BIG, "concurrent": 3, "hours": "100", "reason": ""}
    assert "Give a reason" in client.post("/admin/budgets/allowance/add/", form).text
    answer = client.post("/admin/budgets/allowance/add/", form | {"reason": "round 1"})
    assert answer.status_code == 302
    row = Allowance.objects.get()
    assert (row.available, row.concurrent) == (100, 3)
    path = f"/admin/budgets/allowance/{row.id}/change/"
    change = {"concurrent": 4, "hours": "-200", "reason": "too much"}
    assert "Only 100.00 H100-hours are available" in client.post(path, change).text
    assert client.post(path, change | {"hours": "-40"}).status_code == 302
    row.refresh_from_db()
    assert (row.available, row.concurrent) == (60, 4)
    assert list(Entry.objects.values_list("actor", flat=True)) == ["staff", "staff"]
    for name in ("team", "entry", "allowance"):
        assert client.get(f"/admin/budgets/{name}/").status_code == 200
    assert (
        client.post(f"/admin/budgets/entry/{Entry.objects.first().id}/delete/").status_code == 403
    )
