"""Boards are kept, and never older than what they show: every kind of change is seen at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from crucible.entries.models import Submission
from crucible.jobs.tasks import advance_submission_task
from crucible.leaderboard import board_texts, kept, rows
from crucible.leaderboard.models import Score
from crucible.leaderboard.rows import leaderboard_rows, row_documents
from crucible.review.models import Item, Scan
from crucible.review.services import appeal_make, verdict_give

pytestmark = pytest.mark.django_db
BOARD = {"track": "filtering", "scale": "smoke"}
PAGE, API = "/leaderboard/filtering/smoke/", "/api/leaderboard?track=filtering&scale=smoke"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the texts that were made and not taken from the cache."""
    names: list[str] = []
    real = kept.kept

    def noting(name: str, version: str, make: Callable[[], str]) -> str:
        def note() -> str:
            names.append(name)
            return make()

        return real(name, version, note)

    monkeypatch.setattr("crucible.leaderboard.board_texts.kept", noting)
    return names


def fresh() -> list[dict[str, Any]]:
    """The rows as they are without anything kept, as JSON brings them."""
    rows = row_documents(leaderboard_rows(**BOARD))
    for row in rows:
        row["url"] = "http://testserver" + row["url"]
    found: list[dict[str, Any]] = json.loads(json.dumps(rows))
    return found


@pytest.fixture
def judged(alice, staff, publish) -> Submission:
    """A published submission with findings in one task."""
    submission: Submission = publish(alice, name="judged")
    scan = Scan.objects.get(submission=submission)
    Item.objects.create(scan=scan, task="smoke_copy", severity="high", examples=3, holds=False)
    return submission


def verdict(submission: Submission, reviewer: Any, kind: str) -> None:
    item = Item.objects.get(scan__submission=submission)
    verdict_give(item_id=item.id, reviewer=reviewer, kind=kind, reason="It is there.")


def test_what_did_not_change_is_not_made_again(alice, publish, client, made):
    publish(alice, name="the only one")
    first = client.get(PAGE).text, client.get(API).json()
    assert len(made) == 2
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert (client.get(PAGE).text, client.get(API).json()) == first
    assert len(made) == 2
    assert len(queries) == 4  # a version and a text of each
    assert "the only one" in first[0]
    assert first[1]["rows"] == fresh()


def test_every_change_is_seen_at_once(alice, bob, staff, judged, publish, client, made):
    """After each change page and API say what a computation without the cache says."""
    other = publish(bob, name="other")
    score = Score.objects.filter(submission=judged)
    second = type(staff).objects.create_superuser("second")

    def rename() -> None:
        alice.username = "alicia"
        alice.save()

    changes: dict[str, Callable[[], Any]] = {
        "a publication": lambda: publish(alice, name="third"),
        "another figure": lambda: score.update(smoke=0.9),
        "and back again": lambda: score.update(smoke=0.125),
        "a verdict that marks": lambda: verdict(judged, staff, "accept_with_mark"),
        "a verdict that excludes": lambda: verdict(judged, staff, "exclude_task"),
        "a verdict that clears": lambda: verdict(judged, staff, "false_alarm"),
        "one who would disqualify": lambda: verdict(judged, staff, "disqualify"),
        "a second who agrees": lambda: verdict(judged, second, "disqualify"),
        "an appeal": lambda: appeal_make(submission=judged, user=alice, text="No."),
        "it is back": lambda: verdict(judged, second, "false_alarm"),
        "a name": lambda: Submission.objects.filter(id=other.id).update(name="renamed"),
        "a user's name": rename,
        "a score that goes": lambda: score.delete(),
    }
    seen = set()
    for what, change in changes.items():
        before = client.get(PAGE).text, client.get(API).json()["rows"]
        change()
        page, rows = client.get(PAGE).text, client.get(API).json()["rows"]
        assert rows == fresh(), what
        for row in rows:
            assert f">{row['name']}</a>" in page, what
            assert row["user"] in page, what
        assert page.count('<td class="pick">') == len(rows), what
        assert ("test questions found" in page) == any(row["marks"] for row in rows), what
        if rows != before[1]:
            assert page != before[0], what
            seen.add(what)
    # An appeal leaves everything as it is, and so does one voice for disqualifying.
    assert changes.keys() - seen == {"one who would disqualify", "an appeal"}


def test_a_change_of_the_recipe_or_suite_is_seen(alice, publish, client, monkeypatch):
    publish(alice)
    version = kept.board_version(**BOARD)
    monkeypatch.setattr(
        kept, "board_suite", lambda scale: type("Suite", (), {"hash": "another one"})
    )
    assert kept.board_version(**BOARD) != version


def test_what_is_taken_back_is_not_kept(alice, publish, client):
    submission = publish(alice, name="as it is")
    client.get(PAGE)

    point = transaction.savepoint()
    Submission.objects.filter(id=submission.id).update(name="for a moment")
    assert "for a moment" in client.get(PAGE).text
    transaction.savepoint_rollback(point)
    assert "as it is" in client.get(PAGE).text


def test_pages_and_choices_are_kept_apart(alice, staff, judged, publish, client, monkeypatch):
    monkeypatch.setattr("crucible.leaderboard.board_texts.PAGE", 1)
    for name in ("second", "third"):
        publish(alice, name=name)
    verdict(judged, staff, "accept_with_mark")
    addresses = ["?marked=hide", "?page=2", "?page=3", "", "?page=2&marked=hide"]
    texts = [client.get(PAGE + query).text for query in addresses]
    assert [client.get(PAGE + query).text for query in reversed(addresses)] == texts[::-1]
    assert len(set(texts)) == len(texts)
    assert "judged" not in texts[0]
    assert 'href="?page=2&amp;marked=hide"' in texts[0]
    assert client.get(PAGE + "?page=2&x=%22%3E").text == texts[1]
    assert "Hide marked rows" in texts[3]
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(PAGE + "?page=4").status_code == 404
        assert not [query for query in queries if "INSERT" in query["sql"]]  # nothing is kept of it


def test_the_site_in_the_answer_is_the_one_that_was_asked(alice, publish, settings):
    settings.ALLOWED_HOSTS = ["one.example", "other.example"]
    publish(alice, name='a name with "url": "/ in it')
    for host in ("one.example", "other.example:8000"):
        (row,) = Client().get(API, headers={"host": host}).json()["rows"]
        assert row["url"] == f"http://{host}{reverse('submission', args=[row['id']])}"
        assert row["name"] == 'a name with "url": "/ in it'


@pytest.mark.parametrize("address", [PAGE, API])
def test_a_long_board_takes_no_query_a_row(alice, publish, client, address):
    counts = []
    for _ in range(3):
        publish(alice)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        counts.append(len(queries))
    assert counts[1] == counts[2]  # the first one keeps what they share besides


def test_one_that_leaves_while_a_board_is_made_does_no_harm(alice, publish, client, monkeypatch):
    leaving = publish(alice, name="leaving")
    Submission.objects.filter(id=leaving.id).update(description="so that its board is made again")
    real = rows._entries

    def then_it_leaves(*arguments: Any) -> Any:
        entries = real(*arguments)
        Submission.objects.filter(id=leaving.id).update(state="disqualified")
        return entries

    monkeypatch.setattr(rows, "_entries", then_it_leaves)
    assert "leaving" in client.get(PAGE).text  # as the board was when it was asked for
    assert client.get(API).json()["rows"] == []


def test_a_publication_brings_its_board_with_it(alice, publish, client, made):
    publish(alice, name="new")
    assert made
    made.clear()
    assert client.get(API).json()["rows"] == fresh()
    assert "new" in client.get(PAGE).text
    assert made == []


def test_a_board_that_cannot_be_made_hinders_no_publication(alice, publish, client, monkeypatch):
    def broken(**board: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("no SQL at all")

    with monkeypatch.context() as patched:
        patched.setattr(board_texts, "leaderboard_rows", broken)
        publish(alice, name="published all the same")
    assert "published all the same" in client.get(PAGE).text


def test_a_board_is_ready_before_anybody_asks(
    alice, staff, judged, publish, client, made, hints, django_capture_on_commit_callbacks
):
    """Whoever looks first after a publication or a verdict finds what the worker has made."""
    for change in (
        lambda: publish(alice, name="new"),
        lambda: verdict(judged, staff, "accept_with_mark"),
    ):
        hints.clear()
        with django_capture_on_commit_callbacks(execute=True):
            change()
        for number in dict.fromkeys(hints):
            advance_submission_task(number)
        assert made
        made.clear()
        assert client.get(API).json()["rows"] == fresh()
        assert "new" in client.get(PAGE).text
        assert made == []


def test_a_hint_to_one_that_is_on_no_board_makes_none(alice, make_submission, backend, made):
    advance_submission_task(make_submission(alice).id)
    advance_submission_task(0)
    assert made == []


def test_an_excluded_task_withholds_the_mean_of_every_metric_version(alice, staff, judged):
    Item.objects.filter(scan__submission=judged).update(task="smoke_article")
    (score,) = Score.objects.filter(submission=judged)
    score.pk, score.metric_version, score.smoke = None, "v1", 0.4321
    score.save()

    def cells() -> str:
        (text,) = board_texts._cells(leaderboard_rows(**BOARD), "SMOKE", ["v1"])
        return text

    assert "43.2" in cells()
    verdict(judged, staff, "exclude_task")
    assert "43.2" not in cells()
    assert ">–</td>" in cells()
