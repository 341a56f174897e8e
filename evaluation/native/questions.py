"""Questions that wait for the scores of their rows, and the records that these make."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from evaluation.examples import Example
from evaluation.native.answers import AnswerRule
from evaluation.native.generation import Written
from evaluation.native.plan import distinct_rows
from evaluation.native.prompts import Question
from evaluation.native.scoring import RowScore
from evaluation.suite import Task
from submissions.failures import Failure


@dataclass
class Pending:
    """One question of a task; of its prompts only what the record needs is kept."""

    task: Task
    index: int
    category: str | None
    gold: int | None
    labels: tuple[str, ...]
    place: list[int]  # of each option among the distinct rows
    lengths: list[int]  # of each option's answer, in tokens
    scores: dict[int, RowScore] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.scores) == max(self.place) + 1

    def record(self) -> Example:
        """The answered question; `not_a_number` where the model gave none."""
        self._check(all(score.finite for score in self.scores.values()))
        rows = [self.scores[place] for place in self.place]
        sums = [row.logprob for row in rows]
        if self.task.type == "language_modeling":
            (row,) = rows
            return self._example(
                row.all_best,
                None,
                0,
                option_logprobs=sums,
                option_tokens=self.lengths,
                margin=abs(row.gap),
            )
        # The first of equal ones, in float32 as the reference compares: exp may well overflow.
        chosen = int(np.argmin(np.array([row.perplexity for row in rows], dtype=np.float32)))
        return self._example(
            chosen == self.gold,
            chosen,
            self.gold,
            option_logprobs=sums,
            option_tokens=self.lengths,
            margin=self._margin(),
        )

    def written(self, text: Written, rule: AnswerRule) -> Example:
        """The record of a generated answer."""
        self._check(text.finite)
        return self._example(
            rule.right(text.text, self.labels), None, None, generated=text.text, margin=text.gap
        )

    def means(self) -> list[float]:
        """The mean log-probability of each distinct row's answer."""
        lengths = dict(zip(self.place, self.lengths, strict=True))
        return [self.scores[row].logprob / lengths[row] for row in sorted(self.scores)]

    def _margin(self) -> float | None:
        best, *others = sorted(self.means(), reverse=True)
        return best - others[0] if others else None

    def _check(self, finite: bool) -> None:
        if not finite:
            raise Failure(
                "not_a_number",
                f"{self.task.label}, example {self.index}: the model gives NaN or infinity",
            )

    def _example(
        self, correct: bool, prediction: int | None, gold: int | None, *,
        option_logprobs: list[float] | None = None, option_tokens: list[int] | None = None,
        generated: str | None = None, margin: float | None = None,
    ) -> Example:  # fmt: skip
        if margin is not None and not math.isfinite(margin):
            margin = None
        return Example(
            self.task.label, self.index, self.category, correct, prediction, gold,
            option_logprobs, option_tokens, generated, margin,
        )  # fmt: skip


def pending(task: Task, question: Question) -> Pending:
    """The question without its prompts."""
    return Pending(
        task,
        question.index,
        question.category,
        question.gold,
        question.labels,
        distinct_rows(question)[1],
        [len(option.answer) for option in question.options],
    )
