"""How probable the right answer of a written question was, after the model's own reasoning.

Writing says only whether the text began with the answer. Here the answer of the task's file is put
after the prompt, and where the task has a chain of thought after the one that the model wrote, and
scored like the answer of any other question: one pass over each prompt, without writing anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluation.examples import Example
from evaluation.native.answers import AnswerRule, rule_of
from evaluation.native.engine import NativeEngine
from evaluation.native.memory import fitting
from evaluation.native.plan import Item, Scored, batches, padding_inside
from evaluation.native.prompts import GroupPrompts
from evaluation.native.rows import GENERATION, Group, invalid, labels, read_groups
from evaluation.native.tokens import Ids, PromptEncoder
from evaluation.suite import Suite, Task
from submissions.failures import Failure


@dataclass(frozen=True)
class _Forced:
    """An answer that is scored after `before`."""

    task: Task
    index: int
    before: Ids
    answer: Ids


def with_reference_answers(
    engine: NativeEngine,
    suite: Suite,
    tasks: Mapping[Task, Path],
    records: Sequence[Example],
    on_answers: Callable[[int, int], None],
) -> list[Example]:
    """The records, those of written answers with the right answer's log-probability and tokens.

    They are in `option_logprobs` and `option_tokens`, as of a question with one option.
    `on_answers` hears how many of how many are done. Raises `task_file_invalid` for an empty answer
    and `not_a_number`.
    """
    written = {(r.task, r.index): r for r in records if r.generated is not None}
    forced = [
        one
        for task, path in tasks.items()
        if task.type == GENERATION
        for one in _forced(engine, suite, task, path, written)
    ]
    pad_id = engine.encoder.pad_id
    items = [_item(number, one, pad_id) for number, one in enumerate(forced)]
    found: dict[tuple[str, int], Example] = {}
    for batch in batches(items, lambda: engine.budget):
        scores = fitting(lambda part: engine.scorer.score(part, False), batch, engine.too_much)
        for number, _, score in scores:
            one = forced[number]
            if not score.finite:
                raise Failure(
                    "not_a_number",
                    f"{one.task.label}, example {one.index}: the model gives NaN or infinity",
                )
            key = (one.task.label, one.index)
            found[key] = replace(
                written[key], option_logprobs=[score.logprob], option_tokens=[len(one.answer)]
            )
        on_answers(len(found), len(forced))
    return [found.get((record.task, record.index), record) for record in records]


def reasoning(text: str, rule: AnswerRule) -> str:
    """What the model wrote before its answer, with the task's delimiter; "" without one.

    A text that has no delimiter is reasoning altogether.
    """
    if not rule.delimiter:
        return ""
    said = re.split("|".join(rule.stops), text)[0] if rule.stops else text
    before, found, _ = said.rpartition(rule.delimiter)
    return (before if found else said) + rule.delimiter


def _forced(
    engine: NativeEngine,
    suite: Suite,
    task: Task,
    path: Path,
    written: Mapping[tuple[str, int], Example],
) -> Iterator[_Forced]:
    length, rule = engine.row_length(suite, task), rule_of(task)
    for group in read_groups(task, path):
        prompts = GroupPrompts(task, group, engine.encoder, length)
        asked = [
            place for place, index in enumerate(group.indices) if (task.label, index) in written
        ]
        texts = [
            reasoning(written[task.label, group.indices[place]].generated or "", rule).rstrip()
            for place in asked
        ]
        chains = engine.encoder.encode_distinct(texts)
        answers = _answers(engine.encoder, task, group, asked)
        questions = prompts.questions(asked)
        for question, text, answer in zip(questions, texts, answers, strict=True):
            before = np.concatenate((question.options[0].context, chains[text]))
            # As of every prompt, what is too much is dropped from the left.
            before = before[max(0, len(before) + len(answer) - length) :]
            yield _Forced(task, question.index, before, answer)


def _answers(encoder: PromptEncoder, task: Task, group: Group, places: list[int]) -> list[Ids]:
    found = []
    texts = []
    for place in places:
        answer = labels(group.rows[place])[0]
        spaced = encoder.prefix_space and not answer.startswith(" ")
        texts.append(f" {answer}" if spaced and answer else answer)
    encoded = encoder.encode_distinct(texts)
    for place, text in zip(places, texts, strict=True):
        if not len(encoded[text]):
            raise invalid(task, group.indices[place], "has an empty answer")
        found.append(encoded[text])
    return found


def _item(number: int, one: _Forced, pad_id: int) -> Item:
    row = np.concatenate((one.before, one.answer))
    start = len(one.before) - 1
    places = np.arange(start, start + len(one.answer))
    scored = Scored(0, places, one.answer)
    return Item(number, row[:-1], (), (scored,), padding_inside(row, pad_id))
