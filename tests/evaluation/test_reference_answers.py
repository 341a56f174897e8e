"""The right answer's log-probability after what the model wrote, against a plain forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from evaluation.evaluate import evaluate_model
from evaluation.examples import Example, read_examples
from evaluation.likelihood import likelihoods_of
from evaluation.native.answers import AnswerRule
from evaluation.native.prompts import GroupPrompts
from evaluation.native.reference_answers import reasoning, with_reference_answers
from evaluation.native.rows import read_groups
from evaluation.records import read_records, write_records
from evaluation.suite import Suite, load_suite, task_path
from submissions.failures import Failure
from tests.rounding import rounding_a_token

if TYPE_CHECKING:
    from evaluation.native.engine import NativeEngine

CHAINED = [
    {
        "context": f"Ann has {n} apples and buys {n + 1}. How many?",
        "chain_of_thought": f"{n} and {n + 1} make {2 * n + 1}.",
        "answer": str(2 * n + 1),
    }
    for n in range(5)
]
PLAIN = [{"context": f"The capital of land {n}", "answer": f"City {n}"} for n in range(5)]


@pytest.fixture
def suite(made_suite: Callable[..., Suite]) -> Suite:
    kind = "generation_task_with_answers"
    return made_suite(
        192,
        chained={"type": kind, "rows": CHAINED, "shots": 2, "cot_delimiter": " So it is ",
                 "early_stopping_criteria": ["\n\n"]},
        plain={"type": kind, "rows": PLAIN, "shots": 1, "continuation_delimiter": " is: "},
    )  # fmt: skip


def slow(engine: NativeEngine, ids: list[int], answer: int) -> float:
    """The last `answer` ids' log-probabilities by one forward pass, summed in float64."""
    with torch.inference_mode():
        logits = engine.model(torch.tensor([ids]))[0].double()
    logs = torch.log_softmax(logits, dim=-1)
    places = range(len(ids) - answer - 1, len(ids) - 1)
    return float(sum(logs[place, ids[place + 1]] for place in places))


def texts_of(suite: Suite) -> list[Example]:
    """What a model may have written: with the delimiter, without, several times, nothing."""
    texts = [
        " two and three So it is 5\n\nand more",
        " no idea",
        "",
        " a So it is b So it is c",
        "\n",
    ]
    return [
        Example(task.label, index, None, False, None, None, generated=text)
        for task in suite.tasks
        for index, text in enumerate(texts)
    ]


def test_answers_are_scored_after_the_models_own_reasoning(
    suite: Suite, native: Callable[..., NativeEngine]
) -> None:
    engine = native(budget=300)
    tasks = {task: task_path(suite, task, None) for task in suite.tasks}
    records = texts_of(suite)
    told: list[tuple[int, int]] = []
    found = with_reference_answers(
        engine, suite, tasks, records, lambda done, of: told.append((done, of))
    )
    assert told[-1] == (10, 10)
    assert [replace(r, option_logprobs=None, option_tokens=None) for r in found] == records
    expected = {
        0: " two and three So it is", 1: " no idea So it is", 2: " So it is",
        3: " a So it is b So it is", 4: "\n So it is",
    }  # fmt: skip
    encode = engine.encoder.encode
    for task, path in tasks.items():
        (group,) = read_groups(task, path)
        prompts = GroupPrompts(task, group, engine.encoder, engine.row_length(suite, task))
        for question in prompts.questions(list(range(5))):
            before = expected[question.index] if task.label == "chained" else ""
            answer = encode([f" {group.rows[question.index]['answer']}"])[0].tolist()
            ids = [
                *question.options[0].context.tolist(),
                *(encode([before])[0].tolist() if before else []),
                *answer,
            ]
            record = next(r for r in found if (r.task, r.index) == (task.label, question.index))
            assert record.option_tokens == [len(answer)]
            assert record.option_logprobs is not None
            expected_sum = slow(engine, ids[-engine.row_length(suite, task) :], len(answer))
            bound = len(answer) * rounding_a_token(record, engine.model.shape)
            assert record.option_logprobs[0] == pytest.approx(expected_sum, abs=bound, rel=0)


def test_where_reasoning_ends() -> None:
    rule = AnswerRule(("\n\n",), " So it is ")
    assert reasoning(" x So it is 3", rule) == " x So it is "
    assert reasoning(" x So it is 3\n\nQ So it is 4", rule) == " x So it is "
    assert reasoning(" x", rule) == " x So it is "
    assert reasoning(" x So it is 3", AnswerRule((), "")) == ""


def test_long_texts_lose_their_beginning(
    made_suite: Callable[..., Suite], native: Callable[..., NativeEngine]
) -> None:
    kind = "generation_task_with_answers"
    long = made_suite(48, chained={"type": kind, "rows": CHAINED, "cot_delimiter": " So it is "})
    engine = native()
    tasks = {task: task_path(long, task, None) for task in long.tasks}
    records = [Example("chained", 1, None, False, None, None, generated=" apples" * 200)]
    (found,) = with_reference_answers(engine, long, tasks, records, lambda *_: None)
    assert found.option_logprobs is not None
    assert found.option_logprobs[0] < 0


def test_an_empty_answer_is_refused(
    made_suite: Callable[..., Suite], native: Callable[..., NativeEngine]
) -> None:
    kind = "generation_task_with_answers"
    bad = made_suite(64, plain={"type": kind, "rows": [{"context": "c", "answer": ""}]})
    tasks = {task: task_path(bad, task, None) for task in bad.tasks}
    records = [Example("plain", 0, None, False, None, None, generated="x")]
    with pytest.raises(Failure, match="empty answer") as caught:
        with_reference_answers(native(), bad, tasks, records, lambda *_: None)
    assert caught.value.code == "task_file_invalid"


def test_a_run_keeps_them_and_its_answers_stay_the_same(tiny_model: Path, tmp_path: Path) -> None:
    suite = load_suite("smoke")
    written = [task.label for task in suite.tasks if task.type == "generation_task_with_answers"]
    others = [task.label for task in suite.tasks if task.label not in written][:1]
    run: dict[str, Any] = {"labels": [*written, *others], "limit": 3}
    plain = evaluate_model(tiny_model, "smoke", tmp_path / "plain", **run)
    full = evaluate_model(tiny_model, "smoke", tmp_path / "full", **run, reference_answers=True)
    scores = [
        {label: task["score"] for label, task in document["tasks"].items()}
        for document in (plain, full)
    ]
    assert scores[0] == scores[1]
    before, after = (
        read_examples(tmp_path / name / "examples.jsonl") for name in ("plain", "full")
    )
    for one, other in zip(before, after, strict=True):
        assert (one.generated, one.correct, one.index) == (
            other.generated,
            other.correct,
            other.index,
        )
        assert (other.option_logprobs is not None) == (one.option_logprobs is not None or
                                                       one.generated is not None)  # fmt: skip
    # As records, and once more over the same folder, which holds every answer already.
    write_records(tmp_path / "records.parquet", after, suite.hash)
    kept = read_records(tmp_path / "records.parquet")
    assert [e.option_tokens for e in kept] == [e.option_tokens for e in after]
    evaluate_model(tiny_model, "smoke", tmp_path / "full", **run, reference_answers=True)
    again = read_examples(tmp_path / "full" / "examples.jsonl")
    for one, other in zip(after, again, strict=True):
        assert one.option_logprobs == pytest.approx(other.option_logprobs)
    found = likelihoods_of(suite, tmp_path / "records.parquet")
    assert set(written) <= set(found.tasks)
    for label in written:
        assert found.tasks[label].q is not None
        assert found.tasks[label].bits_per_byte is not None
        assert found.tasks[label].p_token is None
    lines = [json.loads(line) for line in (tmp_path / "full/examples.jsonl").open()]
    assert all("option_logprobs" in line for line in lines)


def test_the_reference_engine_does_not_score_them(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        evaluate_model(
            tiny_model, "smoke", tmp_path, engine_name="llm-foundry", reference_answers=True
        )
    assert caught.value.code == "unknown_engine"
