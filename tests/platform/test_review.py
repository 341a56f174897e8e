"""Findings, verdicts and appeals: who may do what, what follows, and that nothing is rewritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from crucible.entries.models import Submission
from crucible.leaderboard.models import Score
from crucible.review.judging import decide
from crucible.review.models import HoldRule, Item, Scan, Verdict
from crucible.review.selectors import hold_rule, outcome_of, queue, review_waits_for
from crucible.review.services import (
    appeal_make,
    scan_record,
    store_clean_score,
    submission_settle,
    verdict_give,
)
from crucible.roles.services import Role, role_give
from evaluation.contamination.questions import Question, read_questions
from evaluation.examples import Example
from evaluation.records import write_records
from evaluation.suite import load_suite, task_path
from submissions.failures import Failure

SUITE = load_suite("smoke")
TASKS = ("smoke_grammar", "smoke_article")


def question(label: str, index: int) -> Question:
    task = next(task for task in SUITE.tasks if task.label == label)
    return read_questions(task, task_path(SUITE, task, None))[index]


def finding(task: str, index: int, severity: str, line: int = 1) -> dict[str, Any]:
    return {
        "task": task, "index": index, "severity": severity, "shard": "a.jsonl", "line": line,
        "question_coverage": 1.0, "answer_near": severity == "high", "doc_span": [0, 9],
        "text": f"Before <b>it</b>. {question(task, index).question} Behind it.",
    }  # fmt: skip


def report(*findings: dict[str, Any]) -> dict[str, Any]:
    """As the scan writes it."""
    severities = ("high", "medium", "review", "passage")
    tasks = {
        task.label: {"examples": 80, "checkable": 60}
        | {s: len({f["index"] for f in findings if (f["task"], f["severity"]) == (task.label, s)})
           for s in severities}
        for task in SUITE.tasks
    }  # fmt: skip
    examples = [
        {"task": f["task"], "index": f["index"], "severity": f["severity"], "documents": {}}
        for f in findings
    ]
    return {
        "index_hash": "ab" * 32, "documents": 3, "bytes": 300, "seconds": 0.5, "tasks": tasks,
        "examples": examples, "findings": list(findings),
    }  # fmt: skip


@pytest.fixture
def submission(alice: User, make_submission: Any) -> Submission:
    """Scored, and about to be settled."""
    made: Submission = make_submission(alice)
    Submission.objects.filter(id=made.id).update(state="reviewing")
    made.refresh_from_db()
    return made


@pytest.fixture
def reviewers(db: None) -> tuple[User, User]:
    """Two who may judge, and nothing more."""
    rita, ravi = (User.objects.create_user(name) for name in ("rita", "ravi"))
    for user in (rita, ravi):
        role_give(user=user, role=Role.REVIEWER, actor=None)
    return rita, ravi


def settle(submission: Submission) -> str:
    with transaction.atomic():
        locked = Submission.objects.select_for_update().get(id=submission.id)
        submission_settle(submission=locked)
    submission.refresh_from_db()
    return submission.state


def item_of(submission: Submission, task: str = TASKS[0], severity: str = "high") -> Item:
    return Item.objects.get(scan__submission=submission, task=task, severity=severity)


def test_an_item_is_made_for_each_task_and_severity(submission: Submission) -> None:
    scan = scan_record(
        submission=submission,
        report=report(
            finding(TASKS[0], 1, "high"), finding(TASKS[0], 2, "high", 7),
            finding(TASKS[0], 3, "passage"), finding(TASKS[1], 4, "medium"),
        ),
    )  # fmt: skip
    found = [(i.task, i.severity, i.examples, i.holds, i.is_open) for i in scan.items.all()]
    assert sorted(found) == [
        (TASKS[1], "medium", 1, False, True),
        (TASKS[0], "high", 2, True, True),
        (TASKS[0], "passage", 1, False, False),
    ]
    assert "findings" not in scan.report
    assert [(f.index, f.line) for f in item_of(submission).findings.all()] == [(1, 1), (2, 7)]


def test_without_findings_it_is_published(submission: Submission) -> None:
    scan_record(submission=submission, report=report(finding(TASKS[0], 1, "medium")))
    assert settle(submission) == "published"


def test_a_finding_of_question_and_answer_holds_it_until_it_is_judged(
    submission: Submission, reviewers: tuple[User, User]
) -> None:
    scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    assert settle(submission) == "reviewing"
    assert "a reviewer" in review_waits_for(submission)
    verdict_give(
        item_id=item_of(submission).id, reviewer=reviewers[0], kind="accept_with_mark",
        reason="One quotation.",
    )  # fmt: skip
    submission.refresh_from_db()
    assert submission.state == "published"
    assert outcome_of(submission).marked == [TASKS[0]]
    event = submission.events.get(kind="verdict")
    assert (event.actor, event.detail["verdict"]) == ("rita", "accept_with_mark")


def test_to_disqualify_takes_two_reviewers(
    submission: Submission, reviewers: tuple[User, User]
) -> None:
    scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    settle(submission)
    item = item_of(submission)
    give = {"item_id": item.id, "kind": "disqualify", "reason": "The whole test is in it."}
    verdict_give(reviewer=reviewers[0], **give)
    submission.refresh_from_db()
    assert submission.state == "reviewing"
    assert list(queue()) == [item]
    with pytest.raises(Failure, match="second reviewer"):
        verdict_give(reviewer=reviewers[0], **give)
    verdict_give(reviewer=reviewers[1], **give)
    submission.refresh_from_db()
    assert submission.state == "disqualified"
    assert not queue().exists()


def test_who_may_not_judge(submission: Submission, reviewers: tuple[User, User]) -> None:
    scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    item = item_of(submission)
    role_give(user=submission.user, role=Role.REVIEWER, actor=None)
    with pytest.raises(Failure, match="of their own"):
        verdict_give(item_id=item.id, reviewer=submission.user, kind="false_alarm", reason="No.")
    with pytest.raises(Failure, match="needs its reason"):
        verdict_give(item_id=item.id, reviewer=reviewers[0], kind="false_alarm", reason=" ")
    with pytest.raises(Failure, match="there is no verdict"):
        verdict_give(item_id=item.id, reviewer=reviewers[0], kind="maybe", reason="Hm.")
    with pytest.raises(Failure, match="there is no item"):
        verdict_give(item_id=0, reviewer=reviewers[0], kind="false_alarm", reason="No.")
    assert not Verdict.objects.exists()


def test_an_appeal_is_made_once_and_opens_what_was_decided(
    submission: Submission, reviewers: tuple[User, User]
) -> None:
    scan_record(
        submission=submission,
        report=report(finding(TASKS[0], 1, "high"), finding(TASKS[1], 2, "high")),
    )
    settle(submission)
    alice = submission.user
    with pytest.raises(Failure, match="no verdict to appeal"):
        appeal_make(submission=submission, user=alice, text="Why?")
    contested, harmless = item_of(submission), item_of(submission, TASKS[1])
    verdict_give(item_id=harmless.id, reviewer=reviewers[0], kind="false_alarm", reason="A saying.")
    for reviewer in reviewers:
        verdict_give(item_id=contested.id, reviewer=reviewer, kind="disqualify", reason="Leaked.")
    submission.refresh_from_db()
    assert submission.state == "disqualified"
    with pytest.raises(Failure, match="you have no submission"):
        appeal_make(submission=submission, user=reviewers[0], text="Not mine.")
    appeal_make(submission=submission, user=alice, text="It is a common phrase.")
    assert list(queue()) == [contested]
    assert settle(submission) == "disqualified"  # in force until it is judged anew
    with pytest.raises(Failure, match="it was made"):
        appeal_make(submission=submission, user=alice, text="Again.")
    verdict_give(item_id=contested.id, reviewer=reviewers[1], kind="false_alarm", reason="True.")
    submission.refresh_from_db()
    assert submission.state == "published"


DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 10)]


@pytest.mark.parametrize(
    ("kinds", "appealed", "expected"),
    [
        ("", None, (None, True, False)),
        ("f1", None, ("false_alarm", False, False)),
        ("d1", None, (None, True, True)),
        ("d1 d2", None, ("disqualify", False, False)),
        ("d1 m2", None, ("accept_with_mark", False, False)),
        ("m1 d2", None, ("accept_with_mark", True, True)),
        ("d1 m2 d2", None, ("accept_with_mark", True, True)),
        ("d1 d2 d1", None, ("disqualify", False, False)),
        ("d1 d2", 2, ("disqualify", True, False)),
        ("d1 d2 d1", 2, ("disqualify", True, True)),
        ("d1 d2 d1 d2", 2, ("disqualify", False, False)),
        ("f1", 1, ("false_alarm", False, False)),
        ("e1 f2", 1, ("false_alarm", False, False)),
    ],
)
def test_what_verdicts_come_to(kinds: str, appealed: int | None, expected: tuple[Any, ...]) -> None:
    """Letters are verdicts, numbers reviewers; the appeal comes after so many of them."""
    names = {"f": "false_alarm", "m": "accept_with_mark", "e": "exclude_task", "d": "disqualify"}
    verdicts = [
        SimpleNamespace(kind=names[word[0]], reviewer_id=int(word[1]), created_at=DAYS[2 * place])
        for place, word in enumerate(kinds.split())
    ]
    at = None if appealed is None else DAYS[2 * appealed - 1]
    decision = decide(verdicts, at)
    assert (decision.kind, decision.is_open, decision.second_needed) == expected


@pytest.mark.parametrize("what", ["verdict", "appeal"])
def test_nothing_is_rewritten(
    submission: Submission, reviewers: tuple[User, User], what: str
) -> None:
    scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    verdict = verdict_give(
        item_id=item_of(submission).id, reviewer=reviewers[0], kind="exclude_task", reason="Bad."
    )
    row: Any = verdict
    if what == "appeal":
        row = appeal_make(submission=submission, user=submission.user, text="No.")
    for change in (row.save, row.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


def test_an_organiser_sets_what_holds(submission: Submission) -> None:
    assert hold_rule(submission).holds("high", 1)
    assert not hold_rule(submission).holds("medium", 500)
    HoldRule.objects.create(severity="review", examples=3)
    assert hold_rule(submission).holds("medium", 3)
    assert not hold_rule(submission).holds("high", 2)
    HoldRule.objects.create(track="filtering", severity="medium", examples=1)
    assert hold_rule(submission).holds("medium", 1)
    assert not hold_rule(submission).holds("review", 9)
    HoldRule.objects.create(scale="smoke", severity="", examples=1)
    assert not hold_rule(submission).holds("high", 9)
    HoldRule.objects.create(track="filtering", scale="smoke", severity="high", examples=2)
    assert hold_rule(submission).holds("high", 2)


@pytest.fixture
def page(client: Client) -> Callable[..., str]:
    def get(user: User | None, address: str, status: int = 200) -> str:
        client.logout()
        if user is not None:
            client.force_login(user)
        response = client.get(address)
        assert response.status_code == status, response
        return response.content.decode()

    return get


def test_a_reviewer_goes_from_item_to_item(
    submission: Submission, reviewers: tuple[User, User], client: Client, page: Any
) -> None:
    scan_record(
        submission=submission,
        report=report(finding(TASKS[0], 1, "high"), finding(TASKS[1], 2, "high")),
    )
    first, second = queue()
    listed = page(reviewers[0], reverse("admin:review_item_changelist"))
    assert listed.index(f"/item/{first.id}/") < listed.index(f"/item/{second.id}/")
    address = reverse("admin:review_item_change", args=[first.id])
    shown = page(reviewers[0], address)
    assert shown.count("<mark>") > 1
    assert "&lt;b&gt;it&lt;/b&gt;" in shown  # the dataset is hostile
    given = client.post(address, {"kind": "false_alarm", "reason": "A common sentence."})
    assert given.headers["Location"] == reverse("admin:review_item_change", args=[second.id])
    refused = client.post(given.headers["Location"], {"kind": "exclude_task", "reason": ""})
    assert "required" in refused.content.decode()
    given = client.post(given.headers["Location"], {"kind": "exclude_task", "reason": "Leaked."})
    assert given.headers["Location"] == reverse("admin:review_item_changelist")
    assert outcome_of(submission).excluded == [second.task]
    judged = page(reviewers[0], reverse("admin:review_item_changelist") + "?waiting=no")
    assert f"/item/{first.id}/" in judged


def test_only_reviewers_see_the_queue(
    submission: Submission, bob: User, page: Any, client: Client
) -> None:
    scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    address = reverse("admin:review_item_change", args=[queue()[0].id])
    bob.is_staff = True
    bob.save()
    page(bob, address, 403)
    assert client.post(address, {"kind": "false_alarm", "reason": "Mine."}).status_code == 403
    assert not Verdict.objects.exists()


def test_what_each_sees_of_the_findings(
    submission: Submission, reviewers: tuple[User, User], alice: User, bob: User, page: Any
) -> None:
    scan = scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    verdict_give(
        item_id=item_of(submission).id, reviewer=reviewers[0], kind="exclude_task",
        reason="It is the test.",
    )  # fmt: skip
    settle(submission)
    address = reverse("submission_contamination", args=[submission.id])
    evidence = reverse("findings", args=[submission.id, scan.items.get().id])
    for user in (None, bob):
        public = page(user, address)
        assert "1.7 %" in public.replace("&nbsp;", " ")  # 1 of 60 checkable
        assert "Exclude the task" in public
        assert "It is the test." not in public
        assert evidence not in public
    page(bob, evidence, 404)
    assert "It is the test." in page(alice, address)


def test_only_reviewers_read_questions(
    submission: Submission, reviewers: tuple[User, User], alice: User, bob: User, page: Any
) -> None:
    scan = scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    evidence = reverse("findings", args=[submission.id, scan.items.get().id])
    shown = finding(TASKS[0], 1, "high")["text"]
    hidden = next(choice for choice in question(TASKS[0], 1).choices if choice not in shown)
    role_give(user=bob, role=Role.ORGANISER, actor=None)  # without the permission to judge
    for user, sees in ((alice, False), (bob, False), (reviewers[0], True)):
        assert "<mark>" in (text := page(user, evidence))  # in the dataset's own text
        assert ("Test question" in text) is sees
        assert (escape(hidden) in text) is sees


def test_the_appeal_on_the_page(
    submission: Submission, reviewers: tuple[User, User], alice: User, client: Client, page: Any
) -> None:
    scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    settle(submission)
    address = reverse("submission_contamination", args=[submission.id])
    assert "Your reasons" not in page(alice, address)
    verdict_give(
        item_id=item_of(submission).id, reviewer=reviewers[0], kind="exclude_task", reason="Leak."
    )
    assert "Your reasons" in page(alice, address)
    client.post(reverse("appeal", args=[submission.id]), {"text": "It is a proverb."})
    after = page(alice, address)
    assert "It is a proverb." in after
    assert "Your reasons" not in after
    assert "waits for a reviewer" in after


def test_a_report_is_kept_as_json(submission: Submission) -> None:
    scan = scan_record(submission=submission, report=report(finding(TASKS[0], 1, "high")))
    again = Scan.objects.get(id=scan.id)
    assert json.loads(json.dumps(again.report))["documents"] == 3


@pytest.fixture
def judged(publish: Any, reviewers: tuple[User, User]) -> Callable[..., Submission]:
    """Publishes a submission of which an item was judged."""

    def make(user: User, kind: str, **fields: Any) -> Submission:
        made: Submission = publish(user, **fields)
        item = Item.objects.create(
            scan=made.scan, task=TASKS[0], severity="high", examples=3, holds=True
        )
        verdict_give(item_id=item.id, reviewer=reviewers[0], kind=kind, reason="Because.")
        return made

    return make


BOARD = "/leaderboard/filtering/smoke/"


def test_the_board_marks_and_hides(alice: User, judged: Any, publish: Any, page: Any) -> None:
    judged(alice, "accept_with_mark", name="marked one")
    publish(alice, name="plain one")
    judged(alice, "false_alarm", name="false alarm")
    board = page(None, BOARD)
    assert board.count("test questions found, accepted: smoke_grammar") == 1
    assert board.split("<tbody>")[1].count(" ± ") == 4  # three rows and the legend
    hidden = page(None, BOARD + "?marked=hide")
    assert "marked one" not in hidden
    assert "plain one" in hidden
    assert "false alarm" in hidden
    assert "Show marked rows" in hidden


def test_without_an_excluded_task_there_is_no_mean(
    alice: User, judged: Any, page: Any, api: Any
) -> None:
    submission = judged(alice, "exclude_task")
    board = page(None, BOARD)
    assert "smoke_grammar excluded" in board
    assert " ± " not in board.split("<tbody>")[1].split("</tbody>")[0]
    _, document = api(None, "GET", "/leaderboard?track=filtering&scale=smoke")
    row = next(row for row in document["rows"] if row["id"] == submission.id)
    assert (row["rank"], row["score"], row["smoke"]) == (None, None, None)
    assert row["marks"] == {"marked": [], "excluded": ["smoke_grammar"]}


def test_the_score_without_leaked_questions(
    alice: User, publish: Any, page: Any, settings: Any, tmp_path: Path
) -> None:
    settings.RECORDS_DIR = tmp_path
    submission = publish(alice)
    examples = [
        Example(
            task=task.label, index=index, category=None, correct=index < 40, prediction=0, gold=0
        )
        for task in SUITE.tasks
        for index in range(100)
    ]
    write_records(tmp_path / "made", examples, SUITE.hash)
    (tmp_path / "made").rename(tmp_path / f"{'ab' * 32}.parquet")
    Score.objects.update(records_sha256="ab" * 32)
    Scan.objects.update(leaked={TASKS[0]: list(range(40))})
    store_clean_score(submission=submission)
    scan = Scan.objects.get()
    one = scan.clean_score["tasks"][TASKS[0]]
    assert (one["full"], one["clean"], one["n"], one["n_clean"]) == (0.4, 0.0, 100, 60)
    shown = page(None, reverse("submission_contamination", args=[submission.id]))
    assert "Score without leaked questions" in shown
    assert "60 of 100" in shown
