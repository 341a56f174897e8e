"""Rows of task files to questions: what a prompt adds is stripped, what it asks stays apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.contamination.questions import Question, read_questions
from evaluation.suite import Suite
from submissions.failures import Failure
from tests.evaluation.contamination.conftest import PASSAGE, QUESTIONS, write_suite


def questions(suite: tuple[Suite, Path], label: str) -> list[Question]:
    task = next(task for task in suite[0].tasks if task.label == label)
    return read_questions(task, suite[1] / task.file)


def test_lettered_choices_become_texts(small_suite: tuple[Suite, Path]) -> None:
    lettered, plain = questions(small_suite, "choice")
    assert lettered.question.startswith("A gardener notices")
    assert lettered.question.endswith("to the soil first?")
    assert lettered.answers == ("a compost rich in nitrogen",)
    assert lettered.choices[3] == "nothing before the first frost"
    assert plain.answers == ("lime conducts heat badly",)


def test_a_passage_stands_apart(small_suite: tuple[Suite, Path]) -> None:
    for row, (asked, answer) in zip(questions(small_suite, "reading"), QUESTIONS, strict=True):
        assert (row.passage, row.question, row.answers) == (PASSAGE, asked, (answer,))


def test_a_schema_has_the_right_context(small_suite: tuple[Suite, Path]) -> None:
    (row,) = questions(small_suite, "schema")
    assert row.question.endswith("because the painter")
    assert row.answers == ("had to reach the gutter above the second window.",)


def test_reasoning_is_an_answer_too(small_suite: tuple[Suite, Path]) -> None:
    (row,) = questions(small_suite, "generation")
    assert row.answers[0] == "92"
    assert row.answers[1].startswith("Together")


def test_questions_asked_before_are_left_out(tmp_path: Path) -> None:
    rows = [
        {
            "context": f"Below is a story followed by questions.\nStory: {PASSAGE}\n"
            "Preceding questions:\nQuestion: When was it finished?\nAnswer: in 1873\n"
            f"Final question:\nQuestion: {asked}\nAnswer:",
            "continuation": "Holm",
        }
        for asked in ("Who kept bees there?", "Whose daughter sold the ledger?")
    ]
    suite = write_suite(tmp_path, {"coqa": ("language_modeling", rows)})
    row = questions((suite, tmp_path), "coqa")[0]
    assert "1873 after" in row.passage
    assert "Who kept bees there?" in row.question
    assert "When was it finished" not in row.question + row.passage


def test_a_passage_that_all_ask_the_same_of_is_the_question(tmp_path: Path) -> None:
    rows = [
        {"query": f"Passage: {word} {PASSAGE}\nQuestion: Is this secret?", "choices": ["no", "yes"],
         "gold": 0}
        for word in ("One", "Two", "Three")
    ]  # fmt: skip
    suite = write_suite(tmp_path, {"same": ("multiple_choice", rows)})
    row = questions((suite, tmp_path), "same")[1]
    assert row.passage == ""
    assert row.question.startswith("Two The lighthouse")


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, {"bad": ("schema", [{"context_options": ["a"], "gold": 1}])})
    with pytest.raises(Failure) as failure:
        questions((suite, tmp_path), "bad")
    assert failure.value.code == "task_file_invalid"
    assert "row 0 of bad.jsonl" in str(failure.value)
