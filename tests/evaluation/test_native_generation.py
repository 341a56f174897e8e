"""What the native engine writes: greedily, and judged as by LLM Foundry."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.examples import Example
from evaluation.native import generation
from evaluation.native.answers import AnswerRule
from evaluation.native.decoding import Decoder
from evaluation.native.drafts import Drafter
from evaluation.native.engine import NativeEngine
from evaluation.native.generation import Prompt, Writer, prompt_of
from evaluation.suite import Suite, task_path
from tests.rounding import openlm_operations, rounding
from training_recipes.model import OpenLM
from training_recipes.model_dir import load_model_dir

Ask = Callable[..., dict[str, list[Example]]]
NO_RULE = AnswerRule((), "")
END_ID, PAD_ID, ROW = 0, 0, 128


@pytest.fixture(scope="module")
def model(two_layers: Path) -> OpenLM:
    return load_model_dir(two_layers)


@pytest.fixture(scope="module")
def engine(native: Callable[..., NativeEngine]) -> NativeEngine:
    return native()


def prompts(number: int, new_tokens: int = 20, rule: AnswerRule = NO_RULE) -> list[Prompt]:
    lengths = random.Random(number)
    made = []
    for i in range(number):
        ids = np.array([lengths.randint(1, 4095) for _ in range(lengths.randint(2, 60))], np.int32)
        made.append(prompt_of(i, ids, ROW, new_tokens, rule, PAD_ID))
    return made


def written(
    engine: NativeEngine, asked: list[Prompt], budget: int = 2048, slots: int = 8
) -> dict[int, str]:
    writer = Writer(
        Decoder(engine.model, engine.scorer.tables, PAD_ID),
        lambda ids: " ".join(map(str, ids)),
        END_ID,
    )
    texts = list(writer.write(asked, budget, slots))
    assert len(texts) == len(asked)
    assert all(text.finite for text in texts)
    return {text.question: text.text for text in texts}


def greedily(model: OpenLM, prompt: Prompt) -> str:
    """Reads everything again for every token, without any cache; rounding must not choose any."""
    ids = prompt.ids.tolist()
    for _ in range(prompt.new_tokens):
        with torch.no_grad():
            logits = model(torch.tensor([ids]))[0, -1]
        first, second = logits.topk(2).values.tolist()
        bound = rounding(float(logits.abs().max()), openlm_operations(model.shape, len(ids)))
        assert first - second > 2 * bound
        best = int(logits.argmax())
        if best == END_ID:
            break
        ids.append(best)
    return " ".join(map(str, ids[len(prompt.ids) :]))


def test_a_text_is_greedy_whatever_is_written_beside_it(
    engine: NativeEngine, model: OpenLM
) -> None:
    asked = prompts(14)
    expected = {prompt.question: greedily(model, prompt) for prompt in asked}
    assert written(engine, asked) == expected
    for slots, budget in ((1, 2048), (3, 1), (14, 100)):
        assert written(engine, asked[::-1], budget, slots) == expected


def test_guesses_change_no_text(
    engine: NativeEngine, model: OpenLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every guess right, every guess wrong, and none at all."""
    asked = prompts(6, new_tokens=12)
    expected = {prompt.question: greedily(model, prompt) for prompt in asked}
    ends = {tuple(prompt.ids.tolist()): expected[prompt.question] for prompt in asked}

    class Oracle(Drafter):
        def __init__(self, ids: list[int]) -> None:
            super().__init__(ids)
            self.whole = [*ids, *map(int, ends[tuple(ids)].split())]

        def draft(self, most: int) -> list[int]:
            return self.whole[len(self.ids) : len(self.ids) + most]

    class Liar(Drafter):
        def draft(self, most: int) -> list[int]:
            return [7, 8, 9][:most]

    class Silent(Drafter):
        def draft(self, most: int) -> list[int]:
            return []

    steps = []
    go_on = Decoder.go_on
    monkeypatch.setattr(Decoder, "go_on", lambda *a: steps.append(1) or go_on(*a))
    counts = {}
    for drafter in (Oracle, Liar, Silent):
        monkeypatch.setattr(generation, "Drafter", drafter)
        steps.clear()
        assert written(engine, asked) == expected
        counts[drafter] = len(steps)
    assert counts[Oracle] < counts[Silent] == 11 <= counts[Liar]


def test_a_drafter_repeats_what_followed_the_last_two_tokens() -> None:
    drafter = Drafter([1, 2, 3, 4, 1, 2])
    assert drafter.draft(10) == [3]
    drafter.extend([3])
    drafter.judged(1)
    assert drafter.draft(10) == [4, 1, 2]
    assert drafter.draft(2) == [4, 1]
    drafter.extend([9])
    assert drafter.draft(10) == []


def test_a_text_stops_after_a_stop_string_and_its_slot_is_used_again(engine: NativeEngine) -> None:
    free = written(engine, prompts(9))
    third = {question: text.split()[3] for question, text in free.items()}
    rule = AnswerRule(tuple(sorted(set(third.values()))), "")
    stopped = written(engine, prompts(9, rule=rule), slots=2)
    for question, text in stopped.items():
        assert free[question].startswith(text)
        assert text == rule.said(free[question])
        assert len(text.split()) <= 4


def test_a_regular_expression_among_the_stop_strings_stops_nothing_early() -> None:
    """LLM Foundry splits at one as an expression, which only the whole text can decide."""
    rule = AnswerRule(("a.b", "Q:"), "")
    assert not rule.can_stop
    assert rule.said("x Q: y") == "x Q: y"
    assert rule.right("one axb two", ["one"])
    assert AnswerRule(("\n\n", "Q:"), "").said("x\n\ny Q:") == "x\n\n"


OUTPUTS = [
    "So 4 + 5 = 9 #### 9\n\nQ: What next", "The  Answer: is_an apple!", "‘A’ the THE  `x´", "",
    "9 #### 10 #### 11", "Q: at once", "half a #### an answer", "…—½", "#### Ten.", "apple pie",
]  # fmt: skip
LABELS = [["9"], ["apple"], ["x", "is an apple"], [""], ["11", "the"], ["the answer"], ["ten"]]


@pytest.mark.parametrize("delimiter", ["", " #### "])
@pytest.mark.parametrize("stops", [(), ("\n\n", "Q:"), ("a.s", "Q:")])
def test_answers_are_judged_as_by_llm_foundry(
    reference: Any, delimiter: str, stops: tuple[str, ...]
) -> None:
    # `reference` has made LLM Foundry importable.
    from evaluation.recording import InContextLearningGenerationExactMatchAccuracy as Metric

    rule = AnswerRule(stops, delimiter)
    batch = {"cot_delimiter": delimiter, "stopping_criteria": list(stops)}
    verdicts = set()
    for output in OUTPUTS:
        for labels in LABELS:
            metric = Metric()
            metric.update(batch, [output], [labels])
            assert rule.right(output, labels) == bool(metric.compute()), (output, labels)
            assert rule.right(rule.said(output), labels) == rule.right(output, labels)
            verdicts.add(rule.right(output, labels))
    assert verdicts == {True, False}


def test_long_prompts_ends_inside_and_early_ends_are_written_as_by_llm_foundry(
    native: Callable[..., NativeEngine],
    ask: Ask,
    reference: Any,
    made_suite: Callable[..., Suite],
) -> None:
    rows = [
        {"context": "before<|endoftext|>after", "answer": "one", "aliases": ["two"]},
        {"context": "word " * 150, "answer": "a longer answer, to leave less room", "aliases": []},
        {"context": "short", "answer": "x" * 9, "aliases": ["y"]},
        {"context": "<|endoftext|>first", "answer": "", "aliases": []},
    ]
    kind = "generation_task_with_answers"
    suite = made_suite(
        128,
        plain={"type": kind, "rows": rows},
        stopped={
            "type": kind,
            "rows": [row | {"chain_of_thought": "it is " * 4} for row in rows],
            "shots": 2,
            "cot_delimiter": " #### ",
            "early_stopping_criteria": ["e", "\n"],
        },
    )
    mine = ask(native(), suite)
    for task in suite.tasks:
        path = task_path(suite, task, None)
        theirs = reference.evaluate_task(suite, task, path, None, lambda count: None)
        stops = tuple(task.settings.get("early_stopping_criteria", ()))
        for one, other in zip(mine[task.label], theirs, strict=True):
            assert other.generated is not None
            assert one.generated == AnswerRule(stops, "").said(other.generated)
            assert one.correct == other.correct
            assert one.margin is not None
