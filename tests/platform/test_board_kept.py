"""Boards are kept, and made anew after every change, by the process that made the change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from crucible.boards import kept, rows, texts
from crucible.boards.lines import lines_of
from crucible.boards.rows import leaderboard_rows, row_documents
from crucible.boards.view import BoardView
from crucible.entries.models import Submission
from crucible.leaderboard.models import BoardRevision, Score
from crucible.leaderboard.services import rescore_all
from crucible.review.models import Item, Scan
from crucible.review.services import appeal_make, verdict_give

pytestmark = pytest.mark.django_db
BOARD = {"track": "filtering", "scale": "smoke"}
PAGE, API = "/leaderboard/filtering/smoke/", "/api/leaderboard?track=filtering&scale=smoke"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the texts that were made and not taken from the cache."""
    names: list[str] = []
    real = kept._keep

    def noting(name: str, version: kept.Version, value: Any) -> Any:
        names.append(name.split("-")[0])
        return real(name, version, value)

    monkeypatch.setattr(kept, "_keep", noting)
    return names


@pytest.fixture
def committed_at_once(django_capture_on_commit_callbacks: Any) -> Callable[[], Any]:
    """A block whose end counts as a commit: what waits for one is done then."""

    @contextmanager
    def block() -> Iterator[None]:
        with django_capture_on_commit_callbacks(execute=True):
            yield

    return block


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


def test_what_did_not_change_is_not_made_again(alice, publish, client, made, committed_at_once):
    with committed_at_once():
        publish(alice, name="the only one")
    made.clear()
    first = client.get(PAGE).text, client.get(API).json()
    with CaptureQueriesContext(connection) as queries:
        assert (client.get(PAGE).text, client.get(API).json()) == first
    assert made == []
    assert len(queries) == 4  # a revision and a text of each
    assert "the only one" in first[0]
    assert first[1]["rows"] == fresh()


def test_every_change_is_seen_once_it_is_committed(
    alice, bob, staff, judged, publish, client, committed_at_once
):
    """After each change page and API say what a computation without the cache says."""
    publish(bob, name="other")
    second = type(staff).objects.create_superuser("second")

    def rename() -> None:
        alice.username = "alicia"
        alice.save()

    changes: dict[str, Callable[[], Any]] = {
        "a publication": lambda: publish(alice, name="third"),
        "a verdict that marks": lambda: verdict(judged, staff, "accept_with_mark"),
        "a verdict that excludes": lambda: verdict(judged, staff, "exclude_task"),
        "a verdict that clears": lambda: verdict(judged, staff, "false_alarm"),
        "one who would disqualify": lambda: verdict(judged, staff, "disqualify"),
        "a second who agrees": lambda: verdict(judged, second, "disqualify"),
        "an appeal": lambda: appeal_make(submission=judged, user=alice, text="No."),
        "it is back": lambda: verdict(judged, second, "false_alarm"),
        "a user's name": rename,
    }
    seen = set()
    for what, change in changes.items():
        before = client.get(PAGE).text, client.get(API).json()["rows"]
        with committed_at_once():
            change()
        page, found = client.get(PAGE).text, client.get(API).json()["rows"]
        assert found == fresh(), what
        for row in found:
            assert f"<bdi>{row['name']}</bdi></a>" in page, what
            assert row["user"] in page, what
        assert page.count('<td class="pick">') == len(found), what
        assert ("test questions found" in page) == any(row["marks"] for row in found), what
        if found != before[1]:
            assert page != before[0], what
            seen.add(what)
    # An appeal leaves everything as it is, and so does one voice for disqualifying.
    assert changes.keys() - seen == {"one who would disqualify", "an appeal"}


def test_a_user_who_logs_in_changes_no_board(alice, publish):
    publish(alice)
    before = BoardRevision.objects.get().number
    Client().login(username="alice", password="a long passphrase")
    assert BoardRevision.objects.get().number == before


def test_scores_under_another_version_change_the_board(alice, publish, monkeypatch):
    published = publish(alice)
    before = BoardRevision.objects.get().number
    assert rescore_all() == (0, 0)
    assert BoardRevision.objects.get().number == before
    monkeypatch.setattr(
        "crucible.leaderboard.services.versions_that_differ", lambda suite: ["v1", "v2"]
    )
    assert rescore_all() == (1, 0)
    assert BoardRevision.objects.get().number == before + 1
    assert published.scores.count() == 2


def test_while_a_board_is_made_anew_it_looks_as_it_did(alice, publish, client, committed_at_once):
    """For two seconds after a change; whoever comes later makes the board himself."""
    with committed_at_once():
        publish(alice, name="first")
    publish(alice, name="second")  # and the process dies before it has made the board anew
    assert "second" not in client.get(PAGE).text
    assert len(client.get(API).json()["rows"]) == 1
    BoardRevision.objects.update(changed_at=F("changed_at") - timedelta(seconds=kept.GRACE))
    assert "second" in client.get(PAGE).text
    assert client.get(API).json()["rows"] == fresh()


def test_what_was_made_of_an_older_board_is_never_kept_as_the_new_one(
    alice, publish, client, committed_at_once
):
    """A page that nobody has asked for is made within the two seconds, from rows of this moment."""
    with committed_at_once():
        publish(alice, name="first")
    publish(alice, name="second")
    assert "second" in client.get(PAGE + "?marked=hide").text
    BoardRevision.objects.update(changed_at=F("changed_at") - timedelta(seconds=kept.GRACE))
    assert "second" in client.get(PAGE + "?marked=hide").text


def test_a_change_of_the_recipe_or_suite_is_seen(alice, publish, monkeypatch):
    publish(alice)
    version = kept.board_version(**BOARD).text
    monkeypatch.setattr(
        kept, "board_suite", lambda scale: type("Suite", (), {"hash": "another one"})
    )
    assert kept.board_version(**BOARD).text != version


def test_what_is_taken_back_is_not_kept(alice, publish, client, committed_at_once):
    with committed_at_once():
        publish(alice, name="as it is")
    point = transaction.savepoint()
    alice.username = "for-a-moment"
    alice.save()
    texts.board_refresh(**BOARD)
    assert "for-a-moment" in client.get(PAGE).text
    transaction.savepoint_rollback(point)
    assert "for-a-moment" not in client.get(PAGE).text
    assert "as it is" in client.get(PAGE).text


def test_pages_and_choices_are_kept_apart(
    alice, staff, judged, publish, client, monkeypatch, committed_at_once
):
    monkeypatch.setattr(texts, "PAGE", 1)
    with committed_at_once():
        for name in ("second", "third"):
            publish(alice, name=name)
        verdict(judged, staff, "accept_with_mark")
    addresses = ["?marked=hide", "?page=2", "?page=3", "", "?page=2&marked=hide"]
    found = [client.get(PAGE + query).text for query in addresses]
    assert [client.get(PAGE + query).text for query in reversed(addresses)] == found[::-1]
    assert len(set(found)) == len(found)
    assert "judged" not in found[0]
    assert 'href="?marked=hide&amp;page=2"' in found[0]
    assert client.get(PAGE + "?page=2&x=%22%3E").text == found[1]
    assert "Hide marked rows" in found[3]
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
        BoardRevision.objects.update(changed_at=F("changed_at") - timedelta(seconds=kept.GRACE))
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        counts.append(len(queries))
    assert counts[1] == counts[2]  # the first one keeps what they share besides


def test_one_that_leaves_while_a_board_is_made_does_no_harm(alice, publish, client, monkeypatch):
    leaving = publish(alice, name="leaving")
    real = rows._shown_scores

    def then_it_leaves(*arguments: Any) -> Any:
        entries = real(*arguments)
        Submission.objects.filter(id=leaving.id).update(state="disqualified")
        return entries

    monkeypatch.setattr(rows, "_shown_scores", then_it_leaves)
    assert "leaving" in client.get(PAGE).text  # as the board was when it was asked for


def test_a_board_is_ready_before_anybody_asks(
    alice, staff, judged, publish, client, made, committed_at_once
):
    """Whoever looks first after a publication or a verdict finds what was made on commit."""
    for change in (
        lambda: publish(alice, name="new"),
        lambda: verdict(judged, staff, "accept_with_mark"),
    ):
        with committed_at_once():
            change()
        assert {"table", "document"} <= set(made)
        made.clear()
        assert client.get(API).json()["rows"] == fresh()
        assert "new" in client.get(PAGE).text
        assert made == []


def test_no_board_is_made_in_the_transaction_of_a_change(alice, staff, judged, publish, made):
    """Its row is locked then, and the pipeline waits."""
    publish(alice, name="new")
    verdict(judged, staff, "accept_with_mark")
    assert made == []


def test_a_board_that_cannot_be_made_hinders_no_publication(
    alice, publish, client, monkeypatch, committed_at_once
):
    def broken(**board: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("no SQL at all")

    with monkeypatch.context() as patched, committed_at_once():
        patched.setattr(texts, "leaderboard_rows", broken)
        publish(alice, name="published all the same")
    assert "published all the same" in client.get(PAGE).text


def test_a_submission_that_is_on_no_board_changes_none(alice, make_submission, made):
    make_submission(alice)
    assert not BoardRevision.objects.exists()
    assert made == []


def test_an_excluded_task_withholds_the_mean_of_every_metric_version(alice, staff, judged):
    Item.objects.filter(scan__submission=judged).update(task="smoke_article")
    (score,) = Score.objects.filter(submission=judged)
    score.pk, score.metric_version, score.smoke = None, "v1", 0.4321
    score.save()

    def others() -> tuple[float | None, ...]:
        (line,) = lines_of(BoardView(**BOARD), leaderboard_rows(**BOARD), ["v1"])
        return line.others

    assert others() == (0.4321,)
    verdict(judged, staff, "exclude_task")
    assert others() == (None,)
