"""Errors, intervals and differences: by hand on small suites, by simulation for their coverage."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluation.answers import TaskAnswers, strata_of
from evaluation.metrics import accuracy_with_error
from evaluation.statistics import (
    Figure,
    bootstrap,
    covariance,
    differences,
    estimates,
    p_of,
    points,
    spread_of_runs,
)
from evaluation.suite import Suite, load_suite
from submissions.failures import Failure


def answers(bits: list[int] | np.ndarray, categories: list[str] | None = None) -> TaskAnswers:
    right = np.array(bits, dtype=bool)
    names = sorted(set(categories)) if categories else [""]
    codes = [names.index(name) for name in categories] if categories else [0] * len(right)
    return TaskAnswers(np.arange(len(right)), np.array(codes), tuple(names), right)


def suite_of_tasks(**files: str) -> Suite:
    """A suite `own` of tasks by label, on these files, with baseline 0."""
    pattern = load_suite("full").choose(["copa"])[0]
    zero = {"v1": 0.0, "v2": 0.0}
    tasks = tuple(
        replace(pattern, label=label, file=file, baselines=zero) for label, file in files.items()
    )
    return Suite("own", 64, 1, tasks, None)


def test_the_error_of_one_task_is_the_binomial_one() -> None:
    suite = suite_of_tasks(a="a.jsonl")
    found = estimates(suite, {"a": answers([1, 1, 0, 1, 0])}, "v2")["mean"]
    assert found.value == pytest.approx(0.6)
    assert found.stderr == pytest.approx(math.sqrt(0.6 * 0.4 / 4))


def test_categories_count_alike_whatever_their_size() -> None:
    bits, names = [1, 0] + [1] * 8, ["a", "a"] + ["b"] * 8
    found = estimates(suite_of_tasks(a="a.jsonl"), {"a": answers(bits, names)}, "v2")["mean"]
    by_hand = accuracy_with_error({"a": [True, False], "b": [True] * 8})
    assert found.value == pytest.approx(by_hand.score) == pytest.approx(0.75)
    assert found.stderr == pytest.approx(by_hand.stderr)


def test_baselines_stretch_the_error_as_they_stretch_the_score() -> None:
    suite = suite_of_tasks(a="a.jsonl")
    half = replace(suite.tasks[0], baselines={"v1": 0.0, "v2": 50.0})
    suite = replace(suite, tasks=(half,))
    bits = answers([1, 1, 1, 0])
    v1, v2 = (estimates(suite, {"a": bits}, version)["mean"] for version in ("v1", "v2"))
    assert v2.value == pytest.approx(0.5)  # (0.75 − 0.5) / 0.5
    assert v2.stderr == pytest.approx(2 * v1.stderr)
    assert v2.interval[0] == pytest.approx(2 * v1.interval[0] - 1)


def test_two_tasks_on_one_file_are_not_counted_as_independent() -> None:
    """The same questions right in both: as much error as in one of them."""
    bits = answers([1, 0, 1, 1, 0, 0, 1, 0])
    both = {"a": bits, "b": bits}
    shared = estimates(suite_of_tasks(a="x.jsonl", b="x.jsonl"), both, "v2")["mean"]
    apart = estimates(suite_of_tasks(a="x.jsonl", b="y.jsonl"), both, "v2")["mean"]
    alone = estimates(suite_of_tasks(a="x.jsonl"), {"a": bits}, "v2")["mean"]
    assert shared.stderr == pytest.approx(alone.stderr)
    assert apart.stderr == pytest.approx(alone.stderr / math.sqrt(2))


def test_the_bootstrap_is_that_of_single_questions() -> None:
    """Counts of patterns, drawn at once, have the moments of questions drawn one by one.

    But for the four questions a stratum that are answered by coin: of 600, they widen little.
    """
    suite = suite_of_tasks(a="x.jsonl", b="x.jsonl", c="y.jsonl")
    generator = np.random.default_rng(3)
    bits = {label: answers(generator.random(600) < 0.4) for label in "abc"}
    figure = Figure("mean", {"a": 0.5, "b": 0.2, "c": 0.3})
    strata = strata_of(suite, [bits])
    drawn = bootstrap(strata, [figure], 4000)[:, 0, 0]
    rows = [generator.integers(600, size=(2, 600)) for _ in range(4000)]
    by_question = [
        0.5 * bits["a"].correct[x].mean()
        + 0.2 * bits["b"].correct[x].mean()
        + 0.3 * bits["c"].correct[y].mean()
        for x, y in rows
    ]
    assert drawn.mean() == pytest.approx(points(strata, figure)[0], abs=0.001)
    assert drawn.std() == pytest.approx(np.std(by_question), rel=0.06)
    assert np.quantile(drawn, 0.025) == pytest.approx(np.quantile(by_question, 0.025), abs=0.003)
    exact = math.sqrt(covariance(strata, figure)[0, 0])
    assert drawn.std() == pytest.approx(exact * math.sqrt(599 / 600), rel=0.04)


def test_the_same_records_give_the_same_interval() -> None:
    suite = suite_of_tasks(a="x.jsonl")
    bits = {"a": answers(np.arange(50) % 3 == 0)}
    assert estimates(suite, bits, "v2") == estimates(suite, bits, "v2")


def test_one_question_says_nothing_about_the_error() -> None:
    found = estimates(suite_of_tasks(a="x.jsonl"), {"a": answers([1])}, "v2")["mean"]
    assert (found.value, found.stderr) == (1.0, None)


def test_a_model_does_not_differ_from_itself() -> None:
    bits = {"a": answers([1, 0, 1, 0])}
    found = differences(suite_of_tasks(a="x.jsonl"), bits, bits, "v2")["mean"]
    assert (found.value, found.stderr, found.p) == (0, 0, 1)
    assert found.interval[0] < 0 < found.interval[1]  # four questions do not prove it equal


def test_none_right_is_not_certainty() -> None:
    """32 questions, none right: the chance may be 5 per cent all the same (0.95^32 = 0.19)."""
    found = estimates(suite_of_tasks(a="x.jsonl"), {"a": answers([0] * 32)}, "v2")["mean"]
    assert (found.value, found.stderr) == (0, 0)
    assert found.interval[1] > 0.05
    many = estimates(suite_of_tasks(a="x.jsonl"), {"a": answers([0] * 3200)}, "v2")["mean"]
    assert many.interval[1] < 0.002


def test_a_paired_difference_by_hand() -> None:
    one, other = {"a": answers([1, 1, 1, 0, 0])}, {"a": answers([0, 0, 1, 0, 1])}
    found = differences(suite_of_tasks(a="x.jsonl"), one, other, "v2")["mean"]
    assert found.value == pytest.approx(0.2)
    away = np.array([1, 1, 0, 0, -1])
    assert found.stderr == pytest.approx(math.sqrt(away.var(ddof=1) / 5))
    # With the four added questions: 3 and 2 of 9 on which one alone is right.
    spread = 5 / 9 - (1 / 9) ** 2
    assert found.p == pytest.approx(p_of(0.2, math.sqrt(spread / 5)))
    back = differences(suite_of_tasks(a="x.jsonl"), other, one, "v2")["mean"]
    assert back.value == -found.value
    assert back.p == found.p


def test_pairing_sees_what_two_intervals_cannot() -> None:
    """200 questions; one model is right where the other is, and in 10 more."""
    suite, right = suite_of_tasks(a="x.jsonl"), np.arange(200) < 100
    more = np.arange(200) < 110
    low, high = {"a": answers(right)}, {"a": answers(more)}
    assert estimates(suite, low, "v2")["mean"].interval[1] > 0.55  # each holds the other's score
    found = differences(suite, high, low, "v2")["mean"]
    assert found.interval[0] > 0.02
    assert found.p < 0.01


def test_other_questions_cannot_be_compared() -> None:
    one = {"a": answers([1, 0, 1])}
    fewer = {"a": answers([1, 0])}
    with pytest.raises(Failure, match="same questions of a") as raised:
        differences(suite_of_tasks(a="x.jsonl"), one, fewer, "v2")
    assert raised.value.code == "results_invalid"


def test_figures_are_those_whose_tasks_were_all_answered() -> None:
    suite = load_suite("full")
    bits = answers(np.arange(40) % 2 == 0)
    core = {task.label: bits for task in suite.tasks if task.core}
    assert set(estimates(suite, core, "v2", 10)) == {"core"}
    everything = {task.label: bits for task in suite.tasks}
    assert set(estimates(suite, everything, "v2", 10)) == {"core", "extended", "mmlu"}
    del core["copa"]
    assert estimates(suite, core, "v2", 10) == {}


def test_runs_with_several_seeds() -> None:
    found = spread_of_runs([0.1, 0.2, 0.3])
    assert found is not None
    assert (found.runs, found.mean, found.stdev) == pytest.approx((3, 0.2, 0.1))
    assert found.stderr == pytest.approx(0.1 / math.sqrt(3))
    assert spread_of_runs([0.1]) is None


# -- coverage --------------------------------------------------------------------------------------

SIZES = {"a": 32, "b": 300, "c": 300, "d": 1000, "e": 100}
FILES = {"a": "a", "b": "shared", "c": "shared", "d": "d", "e": "e"}


def simulated(generator: np.random.Generator, chances: dict[str, float], models: int) -> list:
    """Models that find the same questions hard; two tasks share a file; one has categories."""
    hardness = {file: generator.random(1000) for file in dict.fromkeys(FILES.values())}
    found = []
    for _ in range(models):
        model = {}
        for label, size in SIZES.items():
            own = generator.random(size) < 0.5
            level = np.where(own, generator.random(size), hardness[FILES[label]][:size])
            names = [str(i % 4) for i in range(size)] if label == "e" else None
            task = answers(level < chances[label], names)
            order = np.argsort(task.category, kind="stable")
            model[label] = replace(
                task,
                index=task.index[order],
                category=task.category[order],
                correct=task.correct[order],
            )
        found.append(model)
    return found


@pytest.mark.parametrize(
    "chances",
    [
        {"a": 0.5, "b": 0.6, "c": 0.62, "d": 0.3, "e": 0.8},
        {"a": 0.02, "b": 0.25, "c": 0.26, "d": 0.01, "e": 0.25},  # a small model
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(chances: dict[str, float]) -> None:
    """600 runs: the share of 95 % intervals that hold the truth, ± 0.9 points (one error).

    Five tasks, one of them of 32 questions, are harder than CORE: 3,000 runs gave 0.948 and 0.980
    for a score, 0.938 and 0.973 for a difference, 0.055 and 0.022 with p < 0.05.
    """
    suite = suite_of_tasks(**FILES)
    generator = np.random.default_rng(11)
    truth, runs = sum(chances.values()) / len(chances), 600
    held = normal = paired = rejected = 0
    for _ in range(runs):
        one, other = simulated(generator, chances, 2)
        found = estimates(suite, one, "v2", 500)["mean"]
        held += found.interval[0] <= truth <= found.interval[1]
        normal += abs(found.value - truth) <= 1.96 * found.stderr
        difference = differences(suite, one, other, "v2", 500)["mean"]
        paired += difference.interval[0] <= 0 <= difference.interval[1]
        rejected += difference.p < 0.05
    assert 0.925 <= held / runs <= 0.992
    assert 0.915 <= normal / runs <= 0.97
    assert 0.915 <= paired / runs <= 0.99
    assert 0.01 <= rejected / runs <= 0.075


def test_a_real_difference_is_found() -> None:
    suite = suite_of_tasks(**FILES)
    generator = np.random.default_rng(12)
    low = {"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5, "e": 0.5}
    high = dict.fromkeys(low, 0.65)
    found = 0
    for _ in range(50):
        hidden = np.random.default_rng(int(generator.integers(1 << 30)))
        (one,) = simulated(hidden, high, 1)
        (other,) = simulated(hidden, low, 1)
        result = differences(suite, one, other, "v2", 200)["mean"]
        found += result.p < 0.05 and result.value > 0
    assert found >= 45
