"""Hints at reworded questions: shown to the owner and staff, and never more than shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from crucible.review.services import scan_record
from tests.platform.test_review import TASKS, page, report, reviewers, settle, submission

__all__ = ["page", "reviewers", "submission"]  # fixtures
pytestmark = pytest.mark.django_db

TEXT = "Kettles <b>with</b> lime boil slowly for a reason."


def test_hints_are_shown_without_the_question_and_hold_nothing(
    submission: Any, reviewers: tuple[User, User], alice: User, bob: User, page: Any
) -> None:
    hint = {"task": TASKS[0], "index": 4, "shard": "a.jsonl", "line": 2, "score": 0.81,
            "question": "Why do kettles boil?", "text": TEXT}  # fmt: skip
    hints = {"documents": 7, "sentences": 9, "found": 1, "findings": [hint]}
    scan = scan_record(submission=submission, report=report() | {"paraphrases": hints})
    assert not scan.items.exists()
    assert settle(submission) == "published"
    assert "question" not in scan.report["paraphrases"]["findings"][0]
    address = reverse("submission_contamination", args=[submission.id])
    for user in (alice, reviewers[0]):
        shown = page(user, address)
        assert "Kettles &lt;b&gt;with&lt;/b&gt; lime" in shown
        assert "a.jsonl" in shown
        assert "Why do kettles boil?" not in shown
    for user in (None, bob):
        assert "Kettles" not in page(user, address)


def test_without_hints_the_page_says_nothing_of_them(
    submission: Any, alice: User, page: Any
) -> None:
    scan_record(submission=submission, report=report())
    assert "Reworded" not in page(alice, reverse("submission_contamination", args=[submission.id]))
