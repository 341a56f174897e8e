"""Findings with their texts, in pages; the question's text comes from the task files.

Questions are for reviewers alone: a participant who saw them whole could train on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.paginator import Page, Paginator

from crucible.leaderboard.suites import board_suite
from crucible.review.models import Finding, Item
from crucible.review.selectors import may_judge
from evaluation.contamination.questions import Question, read_questions
from evaluation.contamination.side_by_side import Pieces, side_by_side, text_of
from evaluation.suite import task_path

PER_PAGE = 10


@dataclass(frozen=True)
class Evidence:
    """One finding as pages show it; `coverage` is the share of the question's words.

    `example`: the question, or None for who may not see it.
    """

    finding: Finding
    example: Pieces | None
    document: Pieces

    @property
    def coverage(self) -> float:
        """Between 0 and 1."""
        return float(self.finding.detail["question_coverage"])


def evidence_page(item: Item, number: str | None, *, reader: Any) -> Page[Evidence]:
    """A page of an item's findings as `reader`, a user, may see them; the first if invalid."""
    page: Page[Any] = Paginator(item.findings.all(), PER_PAGE).get_page(number)
    whole = may_judge(reader)
    page.object_list = [_evidence_of(item, finding, whole) for finding in page]
    return page


def _evidence_of(item: Item, finding: Finding, whole: bool) -> Evidence:
    """The dataset's text and, if `whole`, the question's; without the task file, notes."""
    questions = _questions(item.scan.submission.scale, item.task, settings.CRUCIBLE_EVAL_DATA)
    question = questions.get(finding.index)
    text = finding.detail["text"]
    if question is None:
        note: Pieces = [("This site does not have the task file.", False)]
        return Evidence(finding, note if whole else None, [(text, False)])
    example, document = side_by_side(text_of(question), text)
    return Evidence(finding, example if whole else None, document)


@lru_cache(maxsize=8)
def _questions(scale: str, label: str, data: str) -> dict[int, Question]:
    suite = board_suite(scale)
    task = next((task for task in suite.tasks if task.label == label), None)
    path = task_path(suite, task, Path(data) if data else None) if task else None
    if task is None or path is None or not path.is_file():
        return {}
    return {question.index: question for question in read_questions(task, path)}
