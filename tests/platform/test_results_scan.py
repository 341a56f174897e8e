"""What the API's results say of the scan, and to whom."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from crucible.review.models import Item, Scan
from crucible.review.services import verdict_give

pytestmark = pytest.mark.django_db
COUNTS = {"high": 3, "medium": 1, "review": 2, "passage": 5}
TASKS = {
    "smoke_copy": {"examples": 80, "checkable": 40, **COUNTS},
    "smoke_order": {"examples": 20, "checkable": 0, **dict.fromkeys(COUNTS, 0)},
}
CLEAN = {"means": {}, "tasks": {"smoke_copy": {"full": 0.5, "clean": 0.4, "n": 80, "n_clean": 76}}}


@pytest.fixture
def scanned(alice, staff, publish):
    """A published submission with a finding that was judged and a passage that needs no verdict."""
    submission = publish(alice)
    scan = Scan.objects.get(submission=submission)
    scan.report = scan.report | {"documents": 7, "tasks": TASKS}
    scan.clean_score = CLEAN
    scan.save()
    high = Item.objects.create(
        scan=scan, task="smoke_copy", severity="high", examples=3, holds=False
    )
    Item.objects.create(
        scan=scan, task="smoke_copy", severity="passage", examples=5, holds=False, is_open=False
    )
    verdict_give(item_id=high.id, reviewer=staff, kind="accept_with_mark", reason="A proverb.")
    return submission


def results(api, user, submission):
    status, document = api(user, "GET", f"/submissions/{submission.id}/results")
    assert status == 200
    return document


def test_it_says_what_the_page_shows(api, scanned):
    document = results(api, None, scanned)
    assert document.keys() == {"id", "state", "score", "tasks", "provenance", "scan"}
    scan = document["scan"]
    kept = Scan.objects.get()
    assert scan["scanned_at"] == kept.created_at.isoformat()
    assert scan["index_sha256"] == kept.index_sha256 == "ab" * 32
    assert (scan["documents"], scan["examples"]) == (7, COUNTS)
    assert scan["leaked_tasks"] == ["smoke_copy"]
    assert scan["tasks"]["smoke_copy"] == TASKS["smoke_copy"] | {"rate": 4 / 40}
    assert scan["tasks"]["smoke_order"]["rate"] is None  # nothing of it can be checked
    assert scan["marks"] == {"marked": ["smoke_copy"], "excluded": []}
    assert scan["clean"] == CLEAN
    assert scan["verdicts"] == [
        {"task": "smoke_copy", "severity": "high", "examples": 3, "verdict": "accept_with_mark",
         "waits": False},
        {"task": "smoke_copy", "severity": "passage", "examples": 5, "verdict": None,
         "waits": False},
    ]  # fmt: skip


def test_reasons_are_for_the_owner_and_staff(api, scanned, alice, bob, staff):
    for user in (None, bob):
        assert "A proverb." not in str(results(api, user, scanned))
    for user in (alice, staff):
        verdicts = results(api, user, scanned)["scan"]["verdicts"]
        assert [verdict["reason"] for verdict in verdicts] == ["A proverb.", None]


def test_before_the_scan_there_is_none(api, alice, make_submission):
    assert results(api, alice, make_submission(alice))["scan"] is None


def test_a_clean_dataset_bears_no_mark(api, alice: User, publish):
    scan = results(api, None, publish(alice))["scan"]
    assert (scan["marks"], scan["clean"], scan["leaked_tasks"]) == (None, None, [])
    assert set(scan["examples"].values()) == {0}
