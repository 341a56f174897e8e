"""Prompts, equal to the token to those that LLM Foundry feeds the model for each row of a task.

A prompt is three encodings put after one another, never the encoding of the joined text: the
examples before the question (the preamble), the question, and the answer that is scored.
Specification: llm-foundry 0.22.0, eval/datasets/in_context_learning_evaluation.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evaluation.native.rows import GENERATION, Group, draw_examples, invalid, labels
from evaluation.native.texts import PromptTexts, RowTexts
from evaluation.native.tokens import Ids, PromptEncoder
from evaluation.suite import Task
from submissions.failures import Failure

# LLM Foundry lets a model write a little more than the longest chain of thought in the file.
SPARE_TOKENS = 10
CHUNK = 512  # rows that are encoded together


@dataclass(frozen=True)
class Option:
    """One row of the reference's batch: `answer` is scored after `context`."""

    context: Ids
    answer: Ids


@dataclass(frozen=True)
class Question:
    """One row of the file. A generation has one option whose answer is empty, and no gold."""

    index: int
    category: str | None
    options: tuple[Option, ...]
    gold: int | None
    labels: tuple[str, ...]  # generation: the texts that count as right; else none


class GroupPrompts:
    """How a group's rows become questions.

    `row_length` is the most tokens that a prompt and its answer may have together. Of a generation
    that is the prompt alone: `new_tokens`, enough for the longest answer in the group, are kept
    free for what is written. Raises `model_invalid` when that leaves nothing.
    """

    def __init__(self, task: Task, group: Group, encoder: PromptEncoder, length: int) -> None:
        self.task, self.group, self.encoder = task, group, encoder
        self.texts = PromptTexts(task, group, encoder.prefix_space)
        self.row_length, self.new_tokens = length, 0
        if task.type == GENERATION:
            longest = self._longest_answer()
            if length <= longest:
                raise Failure(
                    "model_invalid",
                    f"{task.label}: its answers need {longest} tokens, which leaves no room for a "
                    f"question in a row of {length}",
                )
            self.row_length, self.new_tokens = length - longest, max(longest, 1)

    def places(self, limit: int | None) -> list[int]:
        """The rows that are asked, counted within the group."""
        return list(range(len(self.group.rows))[:limit])

    def costs(self, places: list[int]) -> list[float]:
        """The approximate cost of these rows: characters, as far as they fit in a row."""
        drawn = draw_examples(len(self.group.rows), self.task.shots)
        return [float(min(self.texts.length(p, drawn[p]), 4 * self.row_length)) for p in places]

    def questions(self, places: list[int]) -> Iterator[Question]:
        """The questions of these rows of the group, however few of them are asked."""
        drawn = draw_examples(len(self.group.rows), self.task.shots)
        for start in range(0, len(places), CHUNK):
            chosen = places[start : start + CHUNK]
            yield from self._encoded(chosen, [self.texts.row(p, drawn[p]) for p in chosen])

    def _encoded(self, places: list[int], texts: list[RowTexts]) -> Iterator[Question]:
        preambles = self.encoder.encode_distinct((t.preamble for t in texts), special=True)
        pieces = self.encoder.encode_distinct(
            piece for t in texts for piece in (*t.contexts, *t.answers)
        )
        for place, text in zip(places, texts, strict=True):
            before = self._without_end(preambles[text.preamble])
            contexts = {c: np.concatenate((before, pieces[c])) for c in set(text.contexts)}
            index, row = self.group.indices[place], self.group.rows[place]
            options = tuple(
                self._option(index, contexts[context], pieces[answer])
                for context, answer in zip(text.contexts, text.answers, strict=True)
            )
            yield Question(index, self.group.category, options, row.get("gold"), labels(row))

    def _without_end(self, preamble: Ids) -> Ids:
        """Without the end-of-text token that a tokenizer may have added."""
        ends = len(preamble) > 1 and preamble[-1] == self.encoder.end_id
        return preamble[:-1] if ends else preamble

    def _option(self, index: int, context: Ids, answer: Ids) -> Option:
        """Drops what is too much from the left of the context."""
        room = self.row_length - len(answer)
        if room < 0:
            raise invalid(
                self.task, index, f"has an answer of {len(answer)} tokens, over {self.row_length}"
            )
        if len(context) > room > 0:  # with no room LLM Foundry keeps all of it: its slice is [-0:]
            context = context[len(context) - room :]
        if not len(context) or (not len(answer) and self.task.type != GENERATION):
            raise invalid(self.task, index, "gives an empty prompt or an empty answer")
        return Option(context, answer)

    def _longest_answer(self) -> int:
        """Tokens of the longest answer with its chain of thought, and some to spare."""
        encoded = self.encoder.encode_distinct(self.texts.full_answers(), special=True).values()
        spare = SPARE_TOKENS if self.task.settings.get("cot_delimiter") else 0
        return max(map(len, encoded), default=0) + spare
