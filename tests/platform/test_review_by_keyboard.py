"""A reviewer judges a hundred items without a mouse and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from crucible.entries.models import Submission
from crucible.review.models import Finding, Item, Scan, Severity, Verdict
from crucible.review.selectors import next_in_queue, queue, queue_of
from crucible.review.services import appeal_make, verdict_give
from evaluation.suite import load_suite
from tests.browsers import launched_browser

ITEMS = 100
PASSWORD = "a long passphrase"
TASKS = [task.label for task in load_suite("smoke").tasks]
JUDGED = [Severity.HIGH, Severity.MEDIUM, Severity.REVIEW]


class Keys:
    """The keyboard, the only thing that the reviewer touches; counts what is pressed."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._browser = page.context.new_cdp_session(page)
        self.pressed = 0

    def press(self, key: str) -> None:
        """A key, or an access key such as Alt+s, which Playwright sends without its letter."""
        self.pressed += 1
        if not key.startswith("Alt+"):
            self._page.keyboard.press(key)
            return
        letter = key.removeprefix("Alt+")
        code = {"key": letter, "windowsVirtualKeyCode": ord(letter.upper()), "modifiers": 1}
        down = {"type": "keyDown", "unmodifiedText": letter}
        self._browser.send("Input.dispatchKeyEvent", code | down)
        self._browser.send("Input.dispatchKeyEvent", code | {"type": "keyUp"})

    def write(self, text: str) -> None:
        """Types a text, whose letters are not counted: no form can spare them."""
        self._page.keyboard.type(text)

    def go(self, key: str) -> None:
        """Presses a key that leads to another page."""
        with self._page.expect_navigation():
            self.press(key)

    def tab_to(self, selector: str, most: int = 60) -> None:
        """Walks with the tabulator to the element that the selector names."""
        for _ in range(most):
            if self._page.locator(f"{selector}:focus").count():
                return
            self.press("Tab")
        raise AssertionError(f"{most} times Tab do not reach {selector}")


@pytest.fixture
def site(committed: None) -> Iterator[str]:
    """The address of a site whose requests see what the test has committed."""
    server = LiveServer("localhost")
    yield server.url
    server.stop()


@pytest.fixture
def reviewer(site: str) -> User:
    return User.objects.create_superuser("rita", password=PASSWORD)


@pytest.fixture
def items(reviewer: User, make_submission: Any) -> list[Item]:
    """A hundred that wait, of submissions that all wait for them."""
    alice = User.objects.create_user("alice")
    made: list[Item] = []
    while len(made) < ITEMS:
        submission = make_submission(alice, name=f"dataset {len(made)}")
        Submission.objects.filter(id=submission.id).update(state="reviewing")
        scan = Scan.objects.create(
            submission=submission, index_sha256="ab" * 32, report={"tasks": {}}, leaked={}
        )
        for task, severity in list(product(TASKS, JUDGED))[: ITEMS - len(made)]:
            item = Item.objects.create(
                scan=scan, task=task, severity=severity, examples=1, holds=True
            )
            detail = {"question_coverage": 1.0, "answer_near": True,
                      "text": f"Document {item.id} tells a long story. " * 40}  # fmt: skip
            Finding.objects.create(item=item, index=1, shard="a.jsonl", line=3, detail=detail)
            made.append(item)
    return made


def judge_all(page: Page, site: str) -> tuple[list[int], list[str]]:
    """From the login to the empty queue; keys pressed for each item, and the pages gone through."""
    keys = Keys(page)
    page.goto(f"{site}/admin/login/?next=/admin/review/item/")
    keys.tab_to("#id_login")
    keys.write("rita")
    keys.tab_to("#id_password")
    keys.write(PASSWORD)
    keys.go("Enter")
    keys.go("Alt+j")  # to the oldest item
    counts, addresses = [], []
    while "/change/" in page.url:
        addresses.append(page.url)
        before = keys.pressed
        if len(counts) % 10 == 0:  # another verdict now and then, with a reason of its own
            keys.press("Alt+2" if len(counts) % 20 else "Alt+1")
            keys.tab_to("textarea")
            keys.write(f"Looked at with number {len(counts)}.")
            keys.go("Alt+s")
        else:
            keys.go("Alt+r")  # as the one before
        counts.append(keys.pressed - before)
        assert len(counts) <= ITEMS
    return counts, addresses


def test_a_hundred_items_by_keyboard_alone(items: list[Item], reviewer: User, site: str) -> None:
    with launched_browser() as browser:
        context = browser.new_context(java_script_enabled=False)
        counts, addresses = judge_all(context.new_page(), site)
        context.close()
    assert len(set(addresses)) == ITEMS  # the next item comes by itself, each once
    assert counts.count(1) == 90  # as the one before: one key
    assert max(counts) <= 3  # verdict, to the reason, and on; the reason's letters apart
    verdicts = list(Verdict.objects.order_by("id").select_related("item"))
    assert [verdict.item_id for verdict in verdicts] == [item.id for item in items]
    for place, verdict in enumerate(verdicts):
        kind = "accept_with_mark" if place // 10 % 2 else "false_alarm"
        assert (verdict.kind, verdict.reviewer) == (kind, reviewer)
        assert verdict.reason == f"Looked at with number {place // 10 * 10}."
    assert not queue().exists()
    assert set(Submission.objects.values_list("state", flat=True)) == {"published"}


@pytest.mark.django_db
def test_the_way_leads_past_what_one_cannot_judge(make_submission: Any) -> None:
    """Neither one's own submission nor what waits for a second voice comes again and again."""
    rita, ravi = (
        User.objects.create_superuser(name, password=PASSWORD) for name in ("rita", "ravi")
    )
    own, first, second, third = (
        Item.objects.create(
            scan=Scan.objects.create(
                submission=make_submission(user), index_sha256="ab" * 32, report={}, leaked={}
            ),
            task=TASKS[0], severity=Severity.HIGH, examples=1, holds=True,
        )
        for user in (rita, ravi, ravi, ravi)
    )  # fmt: skip
    verdict_give(item_id=first.id, reviewer=rita, kind="disqualify", reason="All of it.")
    assert list(queue()) == [own, first, second, third]
    assert list(queue_of(rita)) == [second, third]
    assert list(queue_of(ravi)) == [own]
    assert next_in_queue(third, rita) == second
    assert next_in_queue(second, rita) == third
    carol = User.objects.create_superuser("carol", password=PASSWORD)
    assert list(queue_of(carol)) == [own, first, second, third]
    verdict_give(item_id=first.id, reviewer=carol, kind="disqualify", reason="Yes.")
    appeal_make(submission=first.scan.submission, user=ravi, text="No.")
    assert first in queue_of(rita)
    assert first in queue_of(carol)  # an appeal is judged anew by anybody


@pytest.mark.django_db
def test_as_before_repeats_ones_own_verdict_alone(make_submission: Any, client: Client) -> None:
    rita, ravi = (
        User.objects.create_superuser(name, password=PASSWORD) for name in ("rita", "ravi")
    )
    alice = User.objects.create_user("alice")
    scan = Scan.objects.create(
        submission=make_submission(alice), index_sha256="ab" * 32, report={}, leaked={}
    )
    one, two, three = (
        Item.objects.create(scan=scan, task=task, severity="high", examples=1, holds=True)
        for task in TASKS[:3]
    )
    his = verdict_give(item_id=one.id, reviewer=ravi, kind="exclude_task", reason="Of his.")
    client.force_login(rita)
    address = f"/admin/review/item/{two.id}/change/"
    assert "As before" not in client.get(address).text  # she has judged nothing yet
    for again in (str(his.id), "0", "999999999999999999999999"):
        assert client.post(address, {"again": again}).status_code == 200
    assert not two.verdicts.exists()
    hers = verdict_give(item_id=two.id, reviewer=rita, kind="false_alarm", reason="A <b>saw</b>.")
    address = f"/admin/review/item/{three.id}/change/"
    assert "Same as before: False alarm, “A &lt;b&gt;saw&lt;/b&gt;.”" in client.get(address).text
    assert client.post(address, {"again": str(hers.id)}).status_code == 302
    assert [(v.kind, v.reason, v.reviewer) for v in three.verdicts.all()] == [
        ("false_alarm", "A <b>saw</b>.", rita)
    ]
    verdict_give(item_id=one.id, reviewer=rita, kind="disqualify", reason="Grave.")
    assert "Grave." not in client.get(address).text.split("Verdicts so far")[0]  # never repeated


@pytest.mark.django_db
def test_the_queue_takes_no_query_an_item(make_submission: Any, client: Client) -> None:
    client.force_login(User.objects.create_superuser("rita", password=PASSWORD))
    alice = User.objects.create_user("alice")
    counts = []
    for _ in range(2):
        scan = Scan.objects.create(
            submission=make_submission(alice), index_sha256="ab" * 32, report={}, leaked={}
        )
        for task in TASKS[:4]:
            Item.objects.create(scan=scan, task=task, severity="high", examples=1, holds=True)
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/admin/review/item/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
