"""Findings with both texts, in pages; the question's text comes from the task files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.paginator import Page, Paginator

from crucible.leaderboard.suites import board_suite
from crucible.review.models import Finding, Item
from evaluation.contamination.questions import Question, read_questions
from evaluation.contamination.side_by_side import Pieces, side_by_side, text_of
from evaluation.suite import task_path

PER_PAGE = 10


@dataclass(frozen=True)
class Evidence:
    """One finding as pages show it; `coverage` is the share of the question's words."""

    finding: Finding
    example: Pieces
    document: Pieces

    @property
    def coverage(self) -> float:
        """Between 0 and 1."""
        return float(self.finding.detail["question_coverage"])


def evidence_page(item: Item, number: str | None) -> Page[Evidence]:
    """A page of an item's findings; the first if the number is invalid."""
    page: Page[Any] = Paginator(item.findings.all(), PER_PAGE).get_page(number)
    page.object_list = [evidence_of(item, finding) for finding in page]
    return page


def evidence_of(item: Item, finding: Finding) -> Evidence:
    """Both texts; without the task file, a note replaces the question."""
    questions = _questions(item.scan.submission.scale, item.task, settings.CRUCIBLE_EVAL_DATA)
    question = questions.get(finding.index)
    document = finding.detail["text"]
    if question is None:
        return Evidence(
            finding, [("This site does not have the task file.", False)], [(document, False)]
        )
    return Evidence(finding, *side_by_side(text_of(question), document))


@lru_cache(maxsize=8)
def _questions(scale: str, label: str, data: str) -> dict[int, Question]:
    suite = board_suite(scale)
    task = next((task for task in suite.tasks if task.label == label), None)
    path = task_path(suite, task, Path(data) if data else None) if task else None
    if task is None or path is None or not path.is_file():
        return {}
    return {question.index: question for question in read_questions(task, path)}
