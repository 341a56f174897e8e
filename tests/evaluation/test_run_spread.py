"""Runs of the same data: their spread, and intervals that hold with few or borrowed repeats."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluation.run_spread import (
    PUBLISHED,
    RunSpread,
    difference_with_runs,
    p_with_runs,
    published_spread,
    score_with_runs,
    spread_of,
)
from evaluation.statistics import Estimate, p_of
from evaluation.ties import Places, places_of


def estimate(value: float, stderr: float | None) -> Estimate:
    return Estimate(value, stderr, None)


def test_repeats_of_all_datasets_are_pooled() -> None:
    found = spread_of([[0.20, 0.22], [0.3], [0.40, 0.41, 0.45]], "here")
    assert found is not None
    squares = 2 * 0.01**2 + 0.02**2 + 0.01**2 + 0.03**2
    assert found.stdev == pytest.approx(math.sqrt(squares / 3))
    assert (found.df, found.repeats, found.borrowed) == (3, 3, False)


def test_without_repeats_the_spread_is_borrowed_and_says_so() -> None:
    assert spread_of([[0.2], [0.3]], "here") is None
    found = spread_of([[0.2], [0.3]], "here", published_spread())
    assert found is not None
    assert found.borrowed
    assert found.source == PUBLISHED
    assert not published_spread().borrowed


def test_what_is_known_from_elsewhere_counts_as_one_repeat() -> None:
    elsewhere = RunSpread(0.01, 3, 3, "elsewhere")
    found = spread_of([[0.2, 0.26]], "here", elsewhere)
    assert found is not None
    assert found.df == 2
    assert found.stdev == pytest.approx(math.sqrt((0.01**2 + 2 * 0.03**2) / 2))
    assert found.source == "here"
    many = spread_of([[0.2, 0.26]] * 50, "here", elsewhere)
    alone = spread_of([[0.2, 0.26]] * 50, "here")
    assert many is not None
    assert alone is not None
    assert many.stdev == pytest.approx(alone.stdev, rel=0.02)


def test_the_published_spread() -> None:
    found = published_spread()
    assert found.stdev == pytest.approx(0.0023, abs=5e-5)
    assert found.repeats == 3


def test_both_errors_add_as_squares() -> None:
    spread = RunSpread(0.003, 5, 5, "here")
    found = difference_with_runs(estimate(0.01, 0.004), spread)
    assert found is not None
    assert found.runs == pytest.approx(0.003 * math.sqrt(2))
    assert found.stderr == pytest.approx(math.sqrt(0.004**2 + 2 * 0.003**2))
    assert found.runs_share == pytest.approx(found.runs**2 / found.stderr**2)
    low, high = found.interval
    assert (low + high) / 2 == pytest.approx(0.01)
    assert high - low > 2 * 1.96 * found.stderr
    single = score_with_runs(estimate(0.3, 0.004), spread)
    assert single is not None
    assert single.stderr == pytest.approx(0.005)
    assert difference_with_runs(estimate(0.01, None), spread) is None


def test_without_a_spread_it_is_the_questions_error_alone() -> None:
    found = difference_with_runs(estimate(0.0098, 0.005), RunSpread(0.0, 3, 3, "here"))
    assert found is not None
    assert found.interval[0] == pytest.approx(0.0, abs=1e-5)
    assert found.p == pytest.approx(0.05, abs=5e-4)
    nothing = difference_with_runs(estimate(0.0, 0.0), RunSpread(0.0, 3, 3, "here"))
    assert nothing is not None
    assert nothing.p == 1


@pytest.mark.parametrize(
    ("datasets", "prior", "least", "most"),
    [
        (3, None, 0.93, 0.97),  # three datasets with two runs each, nothing known from elsewhere
        (1, 1.0, 0.93, 0.995),  # a single repeat, and a spread from elsewhere that is right
        (4, 0.3, 0.90, 0.99),  # elsewhere runs lie three times closer together,
        (4, 3.0, 0.95, 1.0),  # or three times further apart
    ],
)
def test_intervals_of_differences_hold(
    datasets: int, prior: float | None, least: float, most: float
) -> None:
    generator = np.random.default_rng(12)
    true, questions, held, rounds = 0.004, 0.002, 0, 2_000
    elsewhere = None if prior is None else RunSpread(prior * true, 3, 3, "elsewhere")
    for _ in range(rounds):
        groups = generator.normal(0.0, true, (datasets, 2)).tolist()
        spread = spread_of(groups, "here", elsewhere)
        assert spread is not None
        noise = generator.normal(0.0, [true, true, questions])
        found = difference_with_runs(estimate(float(noise @ [1, -1, 1]), questions), spread)
        assert found is not None
        held += found.interval[0] <= 0 <= found.interval[1]
    assert least <= held / rounds <= most


def test_equally_good_datasets_are_rarely_called_different() -> None:
    """Without the runs' error the questions' alone would call most of them so."""
    generator = np.random.default_rng(13)
    true, questions, rounds = 0.006, 0.002, 1_500
    called = blind = 0
    for _ in range(rounds):
        spread = spread_of(generator.normal(0.0, true, (6, 2)).tolist(), "here")
        assert spread is not None
        value = float(generator.normal(0.0, [true, true, questions]) @ [1, -1, 1])
        found = difference_with_runs(estimate(value, questions), spread)
        assert found is not None
        called += found.p < 0.05
        blind += abs(value) > 1.96 * questions
    assert called / rounds == pytest.approx(0.05, abs=0.02)
    assert blind / rounds > 0.5


def test_places_leave_open_what_another_seed_would_change() -> None:
    values, questions = [0.30, 0.29, 0.20], np.diag([0.001**2] * 3)
    assert places_of(values, questions) == [Places(1, 1), Places(2, 2), Places(3, 3)]
    spread = RunSpread(0.005, 20, 20, "here")
    assert places_of(values, questions, spread) == [Places(1, 2), Places(1, 2), Places(3, 3)]
    none = RunSpread(0.0, 20, 20, "here")
    assert places_of(values, questions, none) == places_of(values, questions)
    assert p_with_runs(0.01, 0.005, none) == pytest.approx(p_of(0.01, 0.005), rel=1e-6)


def test_a_board_of_equals_rarely_has_a_wrong_better_than() -> None:
    generator = np.random.default_rng(14)
    true, error, rounds, wrong = 0.005, 0.002, 300, 0
    questions = np.diag([error**2] * 8)
    for _ in range(rounds):
        spread = spread_of(generator.normal(0.0, true, (8, 2)).tolist(), "here")
        values = generator.normal(0.3, math.hypot(true, error), 8).tolist()
        found = places_of(sorted(values, reverse=True), questions, spread)
        wrong += any(places != Places(1, 8) for places in found)
    assert wrong / rounds <= 0.05 + 0.038  # three standard errors
