"""What the budget does not allow is refused before a dataset is sent or stored."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from crucible.budgets.models import Membership, Team
from crucible.budgets.selectors import budget_check, budget_rows
from crucible.budgets.services import allowance_grant, price_of
from crucible.entries.models import Submission, Upload
from submissions.failures import Failure

pytestmark = pytest.mark.django_db
BIG = "400m-1x"
PRICE = price_of(BIG)


@pytest.fixture(autouse=True)
def _two_scales(settings, tmp_path):
    settings.CRUCIBLE_SCALES = ["smoke", BIG]
    settings.DATASETS_DIR = tmp_path / "datasets"


@pytest.fixture
def grant(alice, staff):
    team = Team.objects.create(name="laboratory")
    Membership.objects.create(team=team, user=alice)

    def give(hours, concurrent=10, scale=BIG):
        return allowance_grant(
            team=team, scale=scale, concurrent=concurrent, hours=Decimal(hours), reason="a round",
            actor=staff,
        )  # fmt: skip

    return give


def options(client, user):
    """The scales of the form: text by name, and which cannot be chosen."""
    client.force_login(user)
    select = re.search(
        r'<select name="scale".*?</select>', client.get("/submissions/new/").text, re.S
    )
    found = re.findall(r'<option value="([^"]*)"([^>]*)>([^<]*)<', select.group())
    return {name: (text, "disabled" in attributes) for name, attributes, text in found}


def test_the_form_says_what_is_left_and_closes_what_is_not_allowed(
    alice, bob, grant, client, make_submission
):
    assert options(client, bob) == {"smoke": ("smoke", False), BIG: (f"{BIG}: no budget", True)}
    grant(PRICE + 1, concurrent=2)
    left = f"{BIG}: costs {PRICE} H100-hours, {PRICE + 1} left, 0 of 2 in progress"
    assert options(client, alice)[BIG] == (left, False)
    make_submission(alice, scale=BIG)
    assert options(client, alice)[BIG] == (
        f"{BIG}: costs {PRICE} H100-hours, 1.00 left, 1 of 2 in progress",
        True,
    )
    grant(PRICE, concurrent=2)
    assert not options(client, alice)[BIG][1]
    make_submission(alice, scale=BIG)
    grant(5 * PRICE, concurrent=2)
    assert options(client, alice)[BIG][1]  # hours enough, but two are in progress


def test_the_form_says_when_nothing_is_possible(bob, client, settings):
    settings.CRUCIBLE_SCALES = [BIG]
    client.force_login(bob)
    page = client.get("/submissions/new/").text
    assert "Your budget allows no submission now" in page


def test_a_form_that_the_budget_refuses_stores_nothing(bob, client, settings):
    client.force_login(bob)
    form = {
        "name": "mine", "track": "filtering", "scale": BIG,
        "shards": SimpleUploadedFile("a.jsonl", b'{"text": "A document."}\n'),
    }  # fmt: skip
    answer = client.post("/submissions/new/", form)
    assert answer.status_code == 422
    assert f"you have no budget at the scale {BIG}" in answer.text
    assert not Upload.objects.exists()
    assert not settings.DATASETS_DIR.exists()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"scale": BIG}, 400, "budget_exceeded"),
        ({"scale": "7b-1x"}, 400, "refused"),  # not of this site
        ({"scale": "huge"}, 400, None),
        ({"scale": "smoke"}, 201, None),
        ({}, 201, None),
        (None, 201, None),
    ],
)
def test_an_upload_says_its_scale_and_is_refused_at_once(api, bob, body, status, code):
    answered, document = api(bob, "POST", "/uploads", body)
    assert answered == status
    if code:
        assert document["code"] == code
    assert Upload.objects.count() == (status == 201)


@pytest.mark.parametrize("hours", [0, PRICE - 1, PRICE, 3 * PRICE])
@pytest.mark.parametrize("concurrent", [0, 1, 3])
def test_what_is_said_beforehand_is_what_then_happens(
    alice, grant, make_submission, hours, concurrent
):
    grant(hours, concurrent)
    for _ in range(4):
        (row,) = [row for row in budget_rows(alice) if row.scale == BIG]
        if row.refusal is None:
            make_submission(alice, scale=BIG)
            continue
        count = Submission.objects.count()
        with pytest.raises(Failure) as beforehand:
            budget_check(user=alice, scale=BIG)
        with pytest.raises(Failure) as then:
            make_submission(alice, scale=BIG)
        assert beforehand.value.message == then.value.message == row.refusal.message
        assert Submission.objects.count() == count
