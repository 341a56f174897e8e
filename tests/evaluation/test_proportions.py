"""One task: intervals near the ends, beating guessing, McNemar; figures by hand or by counting."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluation.answers import TaskAnswers
from evaluation.proportions import (
    binomial_tail,
    holds,
    mcnemar,
    task_differences,
    task_statistics,
    wilson,
)
from evaluation.suite import Task, load_suite


def answers(bits: list[int], names: list[str] | None = None) -> TaskAnswers:
    known = sorted(set(names)) if names else [""]
    codes = np.array([known.index(name) for name in names] if names else [0] * len(bits))
    right = np.array(bits, dtype=bool)
    return TaskAnswers(np.arange(len(bits)), codes, tuple(known), right)


def with_baseline(percent: float) -> Task:
    copa = load_suite("full").choose(["copa"])[0]
    return replace(copa, baselines={"v1": percent, "v2": percent})


def test_wilson_by_hand() -> None:
    low, high = wilson(8, 10)
    z2 = 1.959964**2 / 10
    middle, half = (0.8 + z2 / 2) / (1 + z2), 1.959964 / (1 + z2)
    half *= math.sqrt(0.8 * 0.2 / 10 + z2 / 40)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert wilson(0, 20)[0] == 0
    assert 0.1 < wilson(0, 20)[1] < 0.2
    assert wilson(20, 20)[1] == 1


@pytest.mark.parametrize("chance", [0.01, 0.25, 0.9])
@pytest.mark.parametrize("count", [32, 500])
def test_wilson_holds_its_level(count: int, chance: float) -> None:
    """The exact coverage: a sum over all outcomes. The normal interval has 27 % at 0.01 of 32."""
    covered = 0.0
    for right in range(count + 1):
        low, high = wilson(right, count)
        if low <= chance <= high:
            covered += math.comb(count, right) * chance**right * (1 - chance) ** (count - right)
    assert 0.93 <= covered <= 0.99


def test_the_tail_is_a_sum() -> None:
    by_hand = sum(math.comb(20, k) for k in range(15, 21)) / 2**20
    assert binomial_tail(15, 20, 0.5) == pytest.approx(by_hand)
    assert binomial_tail(0, 20, 0.5) == 1
    assert binomial_tail(1, 20, 0) == 0
    assert binomial_tail(20, 20, 0.25) == pytest.approx(0.25**20)
    # Normal, with continuity: 176.5 above the mean, 104.7 the deviation.
    assert binomial_tail(14800, 58492, 0.25) == pytest.approx(0.046, abs=0.001)


def test_against_guessing() -> None:
    two_choices = with_baseline(50)
    found = task_statistics(two_choices, answers([1] * 60 + [0] * 40), "v2")
    assert found.chance_p == pytest.approx(0.0284, abs=1e-4)
    assert found.interval == pytest.approx([0.502, 0.691], abs=1e-3)
    assert task_statistics(two_choices, answers([1] * 40 + [0] * 60), "v2").chance_p > 0.97


def test_against_guessing_with_categories() -> None:
    bits, names = [1, 1, 1, 0] * 20 + [1, 0] * 20, ["a"] * 80 + ["b"] * 40
    found = task_statistics(with_baseline(50), answers(bits, names), "v2")
    error = math.sqrt(0.75 * 0.25 / 79 + 0.25 / 39) / 2
    assert found.interval == pytest.approx([0.625 - 1.96 * error, 0.625 + 1.96 * error], abs=1e-4)
    assert found.chance_p == pytest.approx(0.5 * math.erfc(0.125 / error / math.sqrt(2)))
    below = task_statistics(with_baseline(90), answers(bits, names), "v2")
    assert below.chance_p > 0.99


def test_a_category_of_one_question_leaves_it_open() -> None:
    found = task_statistics(with_baseline(50), answers([1, 0, 1], ["a", "a", "b"]), "v2")
    assert (found.interval, found.chance_p) == (None, None)


def test_mcnemar_counts_only_where_they_differ() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(8, 0) == pytest.approx(2 / 2**8)
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 2**10)


def test_differences_task_by_task() -> None:
    one = {"copa": answers([1, 1, 1, 1, 0, 0]), "piqa": answers([1])}
    other = {"copa": answers([1, 0, 0, 0, 1, 0])}
    found = task_differences(one, other)
    assert set(found) == {"copa"}
    assert (found["copa"].only_one, found["copa"].only_other) == (3, 1)
    assert found["copa"].value == pytest.approx(2 / 6)
    away = np.array([0, 1, 1, 1, -1, 0])
    assert found["copa"].stderr == pytest.approx(math.sqrt(away.var(ddof=1) / 6))
    assert found["copa"].p == mcnemar(3, 1)


def test_differences_with_categories() -> None:
    names = ["a", "a", "a", "b", "b"]
    one, other = answers([1, 1, 0, 1, 0], names), answers([0, 1, 0, 0, 0], names)
    found = task_differences({"t": one}, {"t": other})["t"]
    assert found.value == pytest.approx((1 / 3 + 1 / 2) / 2)
    variances = np.array([1, 0, 0]).var(ddof=1) / 3 + np.array([1, 0]).var(ddof=1) / 2
    assert found.stderr == pytest.approx(math.sqrt(variances) / 2)


def test_among_many_tasks_only_the_clear_differences_hold() -> None:
    ps: dict[str, float | None] = {f"t{number}": 0.03 for number in range(40)}
    assert holds(ps | {"clear": 1e-5, "unknown": None}) == {"clear"}
