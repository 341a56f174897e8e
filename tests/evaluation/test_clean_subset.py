"""Scores over clean questions against a plain count, intervals against a plain bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.answers import TaskAnswers
from evaluation.clean_subset import FEWEST, clean_scores
from evaluation.suite import load_suite

SUITE = load_suite("smoke")


def answers(n: int = 200, seed: int = 1) -> dict[str, TaskAnswers]:
    """The smoke suite's tasks, each with `n` questions, about half of them right."""
    draw = np.random.default_rng(seed)
    return {
        task.label: TaskAnswers(
            np.arange(n), np.zeros(n, dtype=np.int64), ("",), draw.random(n) < 0.5
        )
        for task in SUITE.tasks
    }


LABELS = [task.label for task in SUITE.tasks]


def test_scores_are_those_of_counting() -> None:
    given = answers()
    leaked = {LABELS[0]: range(100), LABELS[1]: [5]}
    found = clean_scores(SUITE, given, leaked, "v2")
    one = found["tasks"][LABELS[0]]
    assert set(found["tasks"]) == {LABELS[0], LABELS[1]}
    assert (one.n, one.n_clean) == (200, 100)
    assert one.full == pytest.approx(given[LABELS[0]].correct.mean())
    assert one.clean == pytest.approx(given[LABELS[0]].correct[100:].mean())
    assert one.difference == pytest.approx(one.full - one.clean)
    mean = found["means"]["smoke"]
    centred = [
        (given[task.label].correct.mean() - task.baselines["v2"] / 100)
        / (1 - task.baselines["v2"] / 100)
        for task in SUITE.tasks
    ]
    assert mean.full == pytest.approx(np.mean(centred))
    assert mean.n_clean == mean.n - 101


def test_the_interval_is_that_of_drawing_questions() -> None:
    given = answers()
    leaked = set(range(60))
    one = clean_scores(SUITE, given, {LABELS[0]: leaked}, "v2")["tasks"][LABELS[0]]
    draw = np.random.default_rng(3)
    correct = given[LABELS[0]].correct
    differences = []
    for _ in range(4000):
        rows = draw.integers(0, 200, 200)
        clean = rows >= 60
        differences.append(correct[rows].mean() - correct[rows[clean]].mean())
    assert one.interval == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=0.01)
    assert one.interval[0] < one.difference < one.interval[1]


def test_a_leak_that_was_learnt_shows() -> None:
    given = answers()
    given[LABELS[0]].correct[:80] = True
    one = clean_scores(SUITE, given, {LABELS[0]: range(80)}, "v2")["tasks"][LABELS[0]]
    assert one.difference is not None
    assert one.interval is not None
    assert one.interval[0] > 0.1


def test_too_few_clean_questions_give_no_score() -> None:
    given = answers()
    leaked = {LABELS[0]: range(200 - FEWEST + 1)}
    found = clean_scores(SUITE, given, leaked, "v2")
    assert found["tasks"][LABELS[0]].clean is None
    assert found["tasks"][LABELS[0]].n_clean == FEWEST - 1
    assert found["means"]["smoke"].clean is None
    assert found["means"]["smoke"].full is not None
    enough = clean_scores(SUITE, given, {LABELS[0]: range(200 - FEWEST)}, "v2")
    assert enough["tasks"][LABELS[0]].clean is not None


def test_a_category_without_a_clean_question_gives_none() -> None:
    given = answers()
    category = np.repeat([0, 1], [150, 50])
    given[LABELS[0]] = TaskAnswers(np.arange(200), category, ("a", "b"), given[LABELS[0]].correct)
    found = clean_scores(SUITE, given, {LABELS[0]: range(150, 200)}, "v2")
    assert found["tasks"][LABELS[0]].n_clean == 150
    assert found["tasks"][LABELS[0]].clean is None


def test_without_a_leak_there_is_nothing_to_compare() -> None:
    assert clean_scores(SUITE, answers(), {}, "v2") == {"tasks": {}, "means": {}}
