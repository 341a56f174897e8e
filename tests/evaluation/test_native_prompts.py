"""Prompts to the token: the native engine's beside those that LLM Foundry itself makes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.native.prompts import GroupPrompts, Question
from evaluation.native.rows import GENERATION, draw_examples, read_groups
from evaluation.native.tokens import PromptEncoder
from evaluation.suite import Suite, Task, load_suite, task_path
from submissions.failures import Failure
from training_recipes.tokenizer import tokenizer_folder

Row = tuple[list[int], list[int]]  # ids without padding, and the scored span


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return PromptEncoder(tokenizer_folder("smoke"))


def ours(suite: Suite, task: Task, encoder: PromptEncoder) -> list[tuple[GroupPrompts, Question]]:
    length = int(task.settings.get("max_seq_len", suite.max_seq_len))
    groups = read_groups(task, task_path(suite, task, None))
    made = [GroupPrompts(task, group, encoder, length) for group in groups]
    return [(group, q) for group in made for q in group.questions(group.places(None))]


def theirs(suite: Suite, task: Task, encoder: PromptEncoder) -> Iterator[tuple[Any, Any]]:
    """LLM Foundry's dataset and prepared row, for each row in the order of its categories."""
    from evaluation import llm_foundry

    settings = {"max_seq_len": suite.max_seq_len} | dict(task.settings)
    entry = {"label": task.label, "dataset_uri": str(task_path(suite, task, None))}
    entry |= {"num_fewshot": [task.shots], "icl_task_type": task.type}
    entry |= {"has_categories": task.has_categories} | settings
    with llm_foundry._private_cache() as folder:
        evaluators, _ = llm_foundry.build_icl_evaluators(
            [entry],
            encoder.tokenizer,
            default_max_seq_len=suite.max_seq_len,
            default_batch_size=2,
            destination_dir=str(folder),
        )
        for evaluator in evaluators:
            made = evaluator.dataloader.dataloader.dataset
            rows = list(made.dataset)
            for place, row in enumerate(rows):
                yield (
                    made,
                    made._prep_example(
                        row, place, made.num_fewshot, made.prompt_string, made.fewshot_rng
                    ),
                )


def rows_of(task: Task, prepared: Any) -> tuple[list[list[int]], list[list[int]]]:
    """The padded rows of one question, and the indices scored in each."""
    keys = {"multiple_choice": "query", "schema": "context_options", "language_modeling": "context"}
    ids, spans = prepared[keys[task.type]], prepared["continuation_indices"]
    if task.type == "language_modeling":
        ids, spans = [ids], [spans]
    return [row.tolist() for row in ids], [span.tolist() for span in spans]


def assert_equal_prompts(suite: Suite, encoder: PromptEncoder) -> None:
    for task in suite.tasks:
        mine = ours(suite, task, encoder)
        reference = list(theirs(suite, task, encoder))
        assert len(mine) == len(reference) > 0
        for (group, question), (dataset, prepared) in zip(mine, reference, strict=True):
            where = (task.label, question.index)
            if task.type == GENERATION:
                new_tokens = dataset.base_batch["generation_kwargs"]["max_new_tokens"]
                assert (group.row_length, group.new_tokens) == (dataset.padding_size, new_tokens)
                ids = question.options[0].context.tolist()
                padding = [encoder.pad_id] * (group.row_length - len(ids))
                assert padding + ids == prepared["context"].tolist(), where
                assert set(question.labels) == set(prepared["aliases"])
                continue
            rows, spans = rows_of(task, prepared)
            assert len(question.options) == len(rows), where
            if task.type != "language_modeling":
                assert question.gold == prepared["gold"]
            for option, row, span in zip(question.options, rows, spans, strict=True):
                ids = [*option.context.tolist(), *option.answer.tolist()]
                assert ids + [encoder.pad_id] * (len(row) - len(ids)) == row, where
                assert span == list(range(len(option.context), len(ids))), where


def test_every_prompt_of_the_smoke_suite_is_llm_foundrys(encoder: PromptEncoder) -> None:
    assert_equal_prompts(load_suite("smoke"), encoder)


WORDS = ["the", "old river", "met", "a", "town,", "naïve", "日本", "people—drank", "ﬁne", "☕", "½"]


def text(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


CHOICES: dict[str, Any] = {
    "type": "multiple_choice",
    "shots": 3,
    "rows": [
        {"query": "  Which?\n", "choices": ["this", " that", "  other ", "this"], "gold": 1},
        {"query": text(1, 60), "choices": ["a", "b"], "gold": 0},
        {"query": "", "choices": ["日本", text(2, 5), "½"], "gold": 2},
        {"query": "an end<|endoftext|>inside", "choices": ["", "x<|endoftext|>y"], "gold": 0},
        {"query": text(3, 2), "choices": [text(4, 12), text(5, 16)], "gold": 1},
        {"query": "tabs\tand\r\nends", "choices": ["\n\n", "\ta"], "gold": 0},
    ],
}
WORDS_TO_GO_ON: dict[str, Any] = {
    "type": "language_modeling",
    "shots": 40,  # more than there are rows: each row's examples are all others
    "continuation_delimiter": "\nAnswer: ",
    "rows": [
        {"context": text(seed, seed), "continuation": text(seed + 1, 1 + seed % 3)}
        for seed in range(1, 9)
    ],
}
SCHEMA: dict[str, Any] = {
    "type": "schema",
    "rows": [
        {
            "context_options": [f"{text(seed, 3)} because {who}" for who in ("she", " he ", "it")],
            "continuation": text(seed + 9, 4),
            "gold": seed % 3,
        }
        for seed in range(5)
    ],
}
WRITING: dict[str, Any] = {
    "type": "generation_task_with_answers",
    "shots": 2,
    "cot_delimiter": " #### ",
    "question_prelimiter": "Q: ",
    "continuation_delimiter": "\nA: ",
    "early_stopping_criteria": ["\n\n", "Q:"],
    "rows": [
        {
            "context": text(seed, 4 + 9 * seed),
            "answer": text(seed, 1),
            "aliases": [text(seed, 2), text(seed, 1)],
            "chain_of_thought": text(seed, 6),
        }
        for seed in range(5)
    ],
}


def test_prompts_of_odd_rows_are_llm_foundrys(
    made_suite: Callable[..., Suite], encoder: PromptEncoder
) -> None:
    plain = {key: WRITING[key] for key in ("type", "shots")}
    suite = made_suite(
        96,
        choices=CHOICES,
        continued=WORDS_TO_GO_ON,
        schema=SCHEMA,
        schema_with_examples=SCHEMA | {"shots": 2, "continuation_delimiter": "; "},
        writing=WRITING,
        writing_without_chain=plain
        | {"rows": [{"context": text(i, 3), "answer": text(i, 2)} for i in range(4)]},
        by_category=CHOICES
        | {
            "has_categories": True,
            "rows": [
                row | {"category": "ba"[i % 2]} for i, row in enumerate([*CHOICES["rows"]] * 2)
            ],
        },
    )
    assert_equal_prompts(suite, encoder)


def test_answers_that_fill_the_row_and_answers_that_do_not_fit(
    made_suite: Callable[..., Suite], encoder: PromptEncoder
) -> None:
    """With no room for a context LLM Foundry keeps all of it; a longer answer is an error."""
    row = {"context": text(1, 5), "continuation": text(2, 12)}
    full = len(encoder.encode([" " + row["continuation"]])[0])
    for length, room in ((full + 3, 3), (full, None)):
        suite = made_suite(length, whole={"type": "language_modeling", "rows": [row]})
        assert_equal_prompts(suite, encoder)
        ((_, question),) = ours(suite, suite.tasks[0], encoder)
        context = question.options[0].context
        assert len(context) == (room or len(encoder.encode([row["context"]])[0]))
    suite = made_suite(full - 1, whole={"type": "language_modeling", "rows": [row]})
    with pytest.raises(Exception, match="longer than the max seq len"):
        list(theirs(suite, suite.tasks[0], encoder))
    with pytest.raises(Failure, match=f"row 0 of its file has an answer of {full} tokens"):
        ours(suite, suite.tasks[0], encoder)


def test_examples_are_drawn_as_llm_foundry_draws_them() -> None:
    """Few rows and many shots too, where a row's own number is often drawn first."""
    from evaluation.llm_foundry import get_fewshot_sample_idxs

    for rows in (1, 2, 3, 11, 32, 900):
        for shots in (0, 1, 3, 10):
            generator = random.Random(1234)
            expected = [
                list(get_fewshot_sample_idxs(rows, shots, place, generator)) if shots else []
                for place in range(rows)
            ]
            assert draw_examples(rows, shots) == expected


def test_a_part_of_the_rows_has_the_prompts_of_all(
    made_suite: Callable[..., Suite], encoder: PromptEncoder
) -> None:
    suite = made_suite(256, continued=WORDS_TO_GO_ON | {"shots": 3})
    task = suite.tasks[0]
    (group,) = read_groups(task, task_path(suite, task, None))
    prompts = GroupPrompts(task, group, encoder, 256)
    every = [q.options[0].context for q in prompts.questions(prompts.places(None))]
    some = {q.index: q.options[0].context for q in prompts.questions([5, 2])}
    assert sorted(some) == [2, 5]
    assert all(np.array_equal(context, every[index]) for index, context in some.items())


BAD_ROWS = [
    ("multiple_choice", {"query": "a", "choices": "b", "gold": 0}, "no 'choices' that is a list"),
    ("multiple_choice", {"query": "a", "choices": ["b"], "gold": 1}, "not among its 1 options"),
    ("schema", {"context_options": ["a"], "continuation": "b"}, "no 'gold' that is a number"),
    ("language_modeling", {"context": "a"}, "no 'continuation' that is a string"),
    ("generation_task_with_answers", {"context": 3, "answer": "b"}, "no 'context'"),
    ("language_modeling", ["a"], "is not a JSON object"),
    ("language_modeling", {"context": "", "continuation": "b"}, "an empty prompt"),
]


@pytest.mark.parametrize(("kind", "row", "sentence"), BAD_ROWS)
def test_a_row_of_another_form_is_refused_by_its_number(
    made_suite: Callable[..., Suite], encoder: PromptEncoder, kind: str, row: Any, sentence: str
) -> None:
    good = {"query": "a", "choices": ["b"], "gold": 0, "context_options": ["a"], "context": "a"}
    good |= {"continuation": "b", "answer": "b"}
    suite = made_suite(64, bad={"type": kind, "rows": [good, row]})
    with pytest.raises(Failure, match=sentence) as raised:
        ours(suite, suite.tasks[0], encoder)
    assert raised.value.code == "task_file_invalid"
    assert "row 1" in str(raised.value)


def ending_tokenizer(folder: Path) -> PromptEncoder:
    """The smoke tokenizer, made to end every text with a token, as some tokenizers do."""
    for path in tokenizer_folder("smoke").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    content = json.loads((folder / "tokenizer.json").read_text())
    end = content["added_tokens"][0]
    name, first = end["content"], {"Sequence": {"id": "A", "type_id": 0}}
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, {"SpecialToken": {"id": name, "type_id": 0}}],
        "pair": [first, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [end["id"]], "tokens": [name]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return PromptEncoder(folder)


def test_prompts_with_a_tokenizer_that_ends_every_text(
    made_suite: Callable[..., Suite], tmp_path: Path, encoder: PromptEncoder
) -> None:
    """The token belongs to the preamble alone, and not to the middle of a prompt."""
    ends = ending_tokenizer(tmp_path)
    (plain,), (ended,) = encoder.encode(["a"]), ends.encode(["a"], special=True)
    assert ended.tolist() == [*plain.tolist(), ends.end_id]
    suite = made_suite(96, choices=CHOICES, continued=WORDS_TO_GO_ON, writing=WRITING)
    assert_equal_prompts(suite, ends)
