"""Scores computed by hand against evaluation.metrics."""

from __future__ import annotations

import math

import pytest

from evaluation.metrics import TaskResult, accuracy_with_error, centred, score_results
from evaluation.suite import load_suite


def test_centring_puts_the_baseline_at_zero_and_perfection_at_one() -> None:
    boolq = load_suite("full").choose(["boolq"])[0]
    assert centred(boolq, 0.62, "v2") == 0
    assert centred(boolq, 1.0, "v2") == 1
    assert centred(boolq, 0.81, "v1") == pytest.approx(0.5)  # (0.81 − 0.62) / 0.38
    assert centred(boolq, 0.0, "v1") == pytest.approx(-0.62 / 0.38)


def test_accuracy_and_its_standard_error() -> None:
    result = accuracy_with_error({"": [True, True, False, True, False]})
    assert result.score == 0.6
    assert result.n == 5
    assert result.stderr == pytest.approx(math.sqrt(0.6 * 0.4 / 4))


def test_a_task_with_categories_is_the_mean_of_its_categories() -> None:
    result = accuracy_with_error({"a": [True, False], "b": [True] * 8})
    assert result.score == 0.75  # pooled rows would give 0.9
    assert result.n == 10
    # category a: 0.25 / 1, category b: 0; over two categories
    assert result.stderr == pytest.approx(math.sqrt(0.25) / 2)


def test_one_example_has_no_standard_error() -> None:
    assert accuracy_with_error({"a": [True, False], "b": [True]}).stderr is None


def test_smoke_is_a_mean_with_its_error_and_never_core() -> None:
    suite = load_suite("smoke")
    results = {task.label: TaskResult(1.0, 10, 0.0) for task in suite.tasks}
    article = suite.choose(["smoke_article"])[0]  # baseline 50
    results[article.label] = TaskResult(0.75, 10, 0.1)
    score = score_results(suite, results, "v2")
    count = len(suite.tasks)
    assert score.label == "SMOKE"
    assert score.smoke == pytest.approx((count - 1 + 0.5) / count)
    assert score.smoke_stderr == pytest.approx(0.1 / 0.5 / count)
    assert score.core is score.extended is score.mmlu is None
    assert score.missing_tasks == []
    assert score.tasks["smoke_article"].centered == 0.5


def test_a_missing_task_leaves_no_partial_mean() -> None:
    suite = load_suite("full")
    core = {task.label: TaskResult(1.0) for task in suite.tasks if task.core}
    score = score_results(suite, core, "v2")
    assert score.core == 1.0
    assert score.core_stderr is None  # no task said its error
    assert score.extended is None
    assert score.mmlu is None
    assert len(score.missing_tasks) == 31
    assert score.categories["safety"] is None

    del core["copa"]
    score = score_results(suite, core, "v2")
    assert score.core is None
    assert "copa" in score.missing_tasks


def test_labels_of_no_metric_version_are_named_and_not_counted() -> None:
    suite = load_suite("full")
    results = {task.label: TaskResult(1.0) for task in suite.tasks} | {"gsm8k": TaskResult(0.0)}
    score = score_results(suite, results, "v1")
    assert score.extended == 1.0
    assert "gsm8k" not in score.tasks
