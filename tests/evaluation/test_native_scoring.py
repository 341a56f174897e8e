"""Scores of the native engine beside LLM Foundry's, example by example; and what they depend on."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.audit import answer, differences, question
from evaluation.examples import Example
from evaluation.native import scoring
from evaluation.native.engine import NativeEngine
from evaluation.native.head import read_answers
from evaluation.native.noise import apart
from evaluation.native.plan import batches, items_of
from evaluation.native.prompts import Option, Question
from evaluation.native.questions import Pending
from evaluation.native.scoring import RowScore, Scorer
from evaluation.suite import Suite, load_suite, task_path
from tests.rounding import BFLOAT16, openlm_operations, rounding, rounding_a_token
from training_recipes.model import OpenLM
from training_recipes.model_dir import load_model_dir
from training_recipes.scales import ModelShape

Make = Callable[..., NativeEngine]
Ask = Callable[..., dict[str, list[Example]]]
LIMIT = 12
SMOKE = load_suite("smoke")
SHAPE = ModelShape(32, 2, 2, 256, 4096, True)  # of the model `two_layers`


def assert_equal(suite: Suite, mine: dict[str, list[Example]], theirs: dict[str, Any]) -> None:
    """Every example's question, answer and log-probabilities, none of them decided by rounding."""
    assert set(mine) == set(theirs) == {task.label for task in suite.tasks}
    for task in suite.tasks:
        for one, other in zip(mine[task.label], theirs[task.label], strict=True):
            assert (one.task, one.index) == (other.task, other.index)
            assert question(one) == question(other)
            assert answer(task, one) == answer(task, other), (one, other)
            bound = rounding_a_token(one, SHAPE)
            assert one.margin is None or one.margin > 2 * bound
            for difference, tokens in zip(differences(one, other), one.option_tokens or [1],
                                          strict=True):  # fmt: skip
                assert difference <= bound * tokens


def ask_reference(reference: Any, suite: Suite, limit: int | None) -> dict[str, list[Example]]:
    return {
        task.label: reference.evaluate_task(
            suite, task, task_path(suite, task, None), limit, lambda count: None
        )
        for task in suite.tasks
    }


@pytest.fixture(scope="module")
def smoke(native: Make, ask: Ask) -> dict[str, list[Example]]:
    return ask(native(), SMOKE, LIMIT)


def test_every_answer_is_llm_foundrys(reference: Any, smoke: dict[str, list[Example]]) -> None:
    assert_equal(SMOKE, smoke, ask_reference(reference, SMOKE, LIMIT))
    chosen = [example.prediction for examples in smoke.values() for example in examples]
    assert {0, 1} <= set(chosen)  # the model does prefer now one, now the other


@pytest.mark.parametrize("budget", [1, 300, 1_000_000])
def test_no_answer_depends_on_the_budget(
    native: Make, ask: Ask, smoke: dict[str, list[Example]], budget: int
) -> None:
    few = {label: examples[:4] for label, examples in smoke.items() if label != "smoke_grammar"}
    suite = replace(SMOKE, tasks=tuple(task for task in SMOKE.tasks if task.label in few))
    assert_equal(suite, ask(native(budget=budget), suite, 4), few)


def test_no_answer_depends_on_the_order_of_the_tasks(
    native: Make, ask: Ask, smoke: dict[str, list[Example]]
) -> None:
    tasks = list(SMOKE.tasks)
    random.Random(5).shuffle(tasks)
    shuffled = replace(SMOKE, tasks=tuple(tasks))
    assert_equal(shuffled, ask(native(), shuffled, LIMIT), smoke)


END = "<|endoftext|>"
ODD: dict[str, dict[str, Any]] = {
    "same_choices": {
        "type": "multiple_choice",
        "rows": [{"query": "The sea is", "choices": [" wide", "wide", " wide", "deep"], "gold": 1}],
    },
    "one_choice": {
        "type": "multiple_choice",
        "rows": [{"query": "One alone", "choices": [" choice"], "gold": 0}],
    },
    # The end of a text has the padding's id, which LLM Foundry's mask hides wherever it stands.
    "ends_inside": {
        "type": "multiple_choice",
        "shots": 1,
        "rows": [
            {"query": f"before{END}after it", "choices": [" one", " two or three"], "gold": 0},
            {"query": "an end in the answer", "choices": [f"x{END}y", f"{END}z z"], "gold": 1},
            {"query": f"{END}first", "choices": ["a", "b"], "gold": 1},
        ],
    },
    "end_before_the_last": {
        "type": "language_modeling",
        "rows": [
            {"context": "It goes on", "continuation": f"so{END}far"},
            {"context": f"The last word{END}", "continuation": "is said"},
            {"context": "and then", "continuation": f"over{END}"},
        ],
    },
    "too_long": {
        "type": "multiple_choice",
        "shots": 2,
        "rows": [
            {"query": "many words " * n, "choices": ["short", "a longer answer " * 5], "gold": 0}
            for n in (2, 30, 60, 15)
        ],
    },
    "endings": {
        "type": "schema",
        "rows": [
            {
                "context_options": ["She left", "He left it", "日本 left", "She left"],
                "continuation": "because of the rain, and never came back.",
                "gold": 2,
            }
        ],
    },
    "one_letter": {
        "type": "multiple_choice",
        "rows": [{"query": "Which? " * 9, "choices": ["A", "B", "C", "D"], "gold": 3}] * 3,
    },
}


def test_odd_questions_are_answered_as_by_llm_foundry(
    native: Make, ask: Ask, reference: Any, made_suite: Callable[..., Suite]
) -> None:
    """Each row alone: LLM Foundry applies one row's mask to the others of its batch."""
    suite = made_suite(96, **{label: task | {"batch_size": 1} for label, task in ODD.items()})
    theirs = ask_reference(reference, suite, None)
    assert_equal(suite, ask(native(), suite), theirs)
    assert_equal(suite, ask(native(budget=1), suite), theirs)
    answers = ask(native(), suite)
    (same,), (alone,) = answers["same_choices"], answers["one_choice"]
    assert same.option_logprobs is not None
    assert same.option_logprobs[0] == same.option_logprobs[1] == same.option_logprobs[2]
    assert alone.margin is None  # nothing to choose from


def test_ties_go_to_the_first_and_exp_may_overflow() -> None:
    """As in LLM Foundry: perplexities are compared in float32."""
    task = SMOKE.tasks[0]

    def choose(*perplexities: float) -> int | None:
        number = len(perplexities)
        scores = {i: RowScore(-1.0, p, False, 0.0, True) for i, p in enumerate(perplexities)}
        places = list(range(number))
        pending = Pending(task, 0, None, 0, (), places, [1] * number, scores)
        return pending.record().prediction

    assert choose(3.0, 2.0, 2.0) == 1
    assert choose(math.inf, math.inf) == 0
    assert choose(1.0 + 1e-9, 1.0) == 0  # equal in float32


def made_question(*options: tuple[list[int], list[int]]) -> Question:
    made = (Option(np.array(c, np.int32), np.array(a, np.int32)) for c, a in options)
    return Question(0, None, tuple(made), 0, ())


PAD = 0
PROMPT = list(range(10, 30))


def test_options_share_their_prompt_and_equal_ones_are_one_row() -> None:
    shared = made_question((PROMPT, [5, 6]), (PROMPT, [5, 7, 8]), (PROMPT, [9]), (PROMPT, [5, 6]))
    (item,) = items_of(0, shared, PAD)
    assert item.prefix.tolist() == PROMPT
    # The last token of an option is never fed, and one of a single token feeds nothing.
    assert [suffix.tolist() for suffix in item.suffixes] == [[5], [5, 7]]
    assert [scored.row for scored in item.scored] == [0, 1, 2]
    assert [scored.places.tolist() for scored in item.scored] == [[19, 20], [19, 21, 22], [19]]
    assert [alone.tokens for alone in apart(item)] == [21, 22, 20]


def test_options_that_share_little_or_have_padding_inside_are_rows_of_their_own() -> None:
    differing = made_question(([1, 2, 3], [4]), ([7, 2, 3], [4]))
    assert len(items_of(0, differing, PAD)) == 2
    padded = made_question((PROMPT, [5, PAD, 6]), (PROMPT, [7]))
    assert [item.masked for item in items_of(0, padded, PAD)] == [True, True]
    # Hidden from the last place too, which is never fed.
    (alone,) = items_of(0, made_question((PROMPT, [PAD, 6])), PAD)
    assert alone.masked
    (alone,) = items_of(0, made_question((PROMPT, [6, PAD])), PAD)
    assert not alone.masked


def test_batches_hold_everything_once_within_a_budget_that_may_shrink() -> None:
    random_lengths = random.Random(3)
    items = [
        items_of(number, made_question((PROMPT * random_lengths.randint(1, 9), [5])), PAD)[0]
        for number in range(40)
    ]
    budget = [600]
    sizes, seen = [], []
    for batch in batches(items, lambda: budget[0]):
        sizes.append(sum(item.tokens for item in batch))
        seen += [item.question for item in batch]
        if len(seen) > 15:
            budget[0] = 100
    assert sorted(seen) == list(range(40))
    assert max(sizes) <= 600
    assert max(sizes[-3:]) <= 180  # one item may be over the budget, two may not


def test_logits_in_parts_of_the_vocabulary_are_the_whole_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Small whole numbers, whose products are exact in any order: only the softmax is rounded.
    torch.manual_seed(1)
    normed, weight = torch.randint(-2, 3, (50, 8)).float(), torch.randint(-2, 3, (97, 8)).float()
    weight[60] = weight[3]  # equal logits: the first one is the argmax
    pair_at, targets = torch.arange(50).repeat(2), torch.randint(0, 97, (100,))
    logits = normed @ weight.T
    targets[:4] = logits.argmax(dim=-1)[:4]
    expected, best = logits.log_softmax(-1)[pair_at, targets], logits.argmax(-1)[pair_at] == targets
    for rows, width in ((128, 4096), (7, 10)):
        monkeypatch.setitem(scoring.read_answers.__globals__["ROWS"], "cpu", rows)
        monkeypatch.setitem(scoring.read_answers.__globals__["VOCABULARY"], "cpu", width)
        found = read_answers(normed, weight, pair_at, targets, True)
        bound = rounding(float(expected.abs().max()), 97)
        torch.testing.assert_close(found.logprobs, expected, atol=bound, rtol=0)
        assert torch.equal(found.best, best)
        others = logits[pair_at].scatter(1, targets[:, None], -torch.inf).amax(dim=-1)
        gaps = logits[pair_at, targets] - others
        assert torch.equal(found.gaps, gaps)


def test_the_margin_says_how_far_another_answer_is(native: Make, ask: Ask) -> None:
    answers = ask(native(), SMOKE, 6)
    for task in SMOKE.tasks:
        for example in answers[task.label]:
            assert example.margin is not None
            assert example.margin >= 0
            if task.type in ("multiple_choice", "schema"):
                assert example.option_logprobs
                assert example.option_tokens
                pairs = zip(example.option_logprobs, example.option_tokens, strict=True)
                best, second, *_ = sorted((total / n for total, n in pairs), reverse=True)
                assert example.margin == best - second


def test_a_checkpoints_own_rotary_frequencies_are_used_and_stay_float32(two_layers: Path) -> None:
    from evaluation.native.models import prepare_model

    def logprob(model: OpenLM) -> float:
        item = items_of(0, made_question((PROMPT * 5, [5, 6])), PAD)[0]
        ((_, _, score),) = Scorer(model, PAD).score([item], with_gaps=False)
        return score.logprob

    model = load_model_dir(two_layers)
    layer: Any = model.layers[0]
    exact = layer.attention.pos_embed.inv_freq.clone()
    before = logprob(model)
    half = prepare_model(load_model_dir(two_layers), "bf16", 0)
    first: Any = half.layers[0]
    assert half.output.weight.dtype == torch.bfloat16
    assert torch.equal(first.attention.pos_embed.inv_freq, exact)
    # Rounding to bfloat16 averages out in float32 sums: little more than the last one is left.
    assert logprob(half) == pytest.approx(before, rel=BFLOAT16)
    layer.attention.pos_embed.inv_freq = exact * 1.5
    ids = torch.tensor([PROMPT * 5 + [5, 6]])
    changed = logprob(model)
    for each in model.layers:
        each.attention.pos_embed.inv_freq = exact * 1.5  # type: ignore[union-attr]
    with torch.no_grad():
        found = model(ids)[0].log_softmax(dim=-1)[-3:-1, [5, 6]].diagonal().sum()
    bound = 2 * rounding(abs(before), openlm_operations(SHAPE, len(ids[0])))  # of two tokens
    assert changed == pytest.approx(float(found), abs=bound, rel=0)
    assert abs(changed - before) > 2 * bound
