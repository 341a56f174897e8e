"""The line between two scales: known values, and intervals and chances that hold in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluation.student import cdf, quantile
from evaluation.transfer.line import LEVEL_SPREAD, SURE, Line, Pair, fit_blend, fit_line


def simulated(
    generator: np.random.Generator, count: int, scatter: float, level: float = 0.13
) -> list[Pair]:
    """Datasets on a line of slope 0.9 with scatter about it."""
    sources = generator.uniform(0.2, 0.3, count)
    targets = level + 0.9 * sources + scatter * generator.standard_normal(count)
    return [
        Pair(f"d{number}", float(x), float(y))
        for number, (x, y) in enumerate(zip(sources, targets, strict=True))
    ]


def test_students_t_by_closed_forms_and_printed_tables() -> None:
    for t in (-3.0, -0.5, 0.0, 0.7, 12.0):
        assert cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
        assert cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)
    assert quantile(0.95, 13) == pytest.approx(1.770933, abs=1e-6)
    assert quantile(0.975, 10) == pytest.approx(2.228139, abs=1e-6)
    assert quantile(0.95, 1e6) == pytest.approx(1.644855, abs=1e-5)
    for df in (0.5, 6.5, 40.0):
        assert cdf(quantile(0.9, df), df) == pytest.approx(0.9, abs=1e-10)
        assert quantile(0.1, df) == -quantile(0.9, df)
    with pytest.raises(ValueError, match="degrees"):
        cdf(1, 0)


def test_students_t_agrees_with_drawn_variables() -> None:
    generator = np.random.default_rng(5)
    drawn = generator.standard_t(6.5, 200_000)
    for t in (-1.5, 0.4, 2.0):
        assert cdf(t, 6.5) == pytest.approx(np.mean(drawn <= t), abs=0.004)


def test_the_line_is_that_of_least_squares() -> None:
    pairs = simulated(np.random.default_rng(1), 12, 0.01)
    line = fit_line(pairs)
    assert line is not None
    x, y = (np.array([getattr(pair, name) for pair in pairs]) for name in ("source", "target"))
    slope, intercept = np.polyfit(x, y, 1)
    assert line.slope == pytest.approx(slope)
    assert line.intercept == pytest.approx(intercept)
    assert line.s == pytest.approx(math.sqrt(((y - intercept - slope * x) ** 2).sum() / 10))


def test_intervals_hold_nine_of_ten_new_runs() -> None:
    generator = np.random.default_rng(2)
    held, rounds = 0, 1_500
    for _ in range(rounds):
        *pairs, new = simulated(generator, 10, 0.01)
        line = fit_line(pairs)
        assert line is not None
        low, high = line.predict(new.source).ends
        held += low <= new.target <= high
    assert held / rounds == pytest.approx(0.90, abs=0.025)  # three standard errors


def test_chances_come_true_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    chances, won = [], []
    for _ in range(3_000):
        *pairs, one, other = simulated(generator, 11, 0.02)
        line = fit_line(pairs)
        assert line is not None
        chances.append(line.chance(one.source, other.source))
        won.append(one.target > other.target)
    said, true = np.array(chances), np.array(won)
    for low, high in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        inside = (said >= low) & (said < high)
        error = math.sqrt(0.25 / inside.sum())
        assert true[inside].mean() == pytest.approx(said[inside].mean(), abs=3 * error)
    # Sharper than the order alone with its own frequency, which is the best that order can do.
    sources_agree = (said > 0.5) == true
    order = np.where(said > 0.5, sources_agree.mean(), 1 - sources_agree.mean())
    assert ((said - true) ** 2).mean() < ((order - true) ** 2).mean() - 0.01


def test_differences_hold_nine_of_ten() -> None:
    generator = np.random.default_rng(4)
    held, rounds = 0, 1_500
    for _ in range(rounds):
        *pairs, one, other = simulated(generator, 12, 0.01)
        line = fit_line(pairs)
        assert line is not None
        low, high = line.difference(one.source, other.source).ends
        held += low <= one.target - other.target <= high
    assert held / rounds == pytest.approx(0.90, abs=0.025)


def test_chances_are_symmetric_and_know_only_the_gap() -> None:
    pairs = simulated(np.random.default_rng(6), 9, 0.02)
    line = fit_line(pairs)
    moved = fit_line([Pair(p.dataset, p.source + 0.1, p.target) for p in pairs])
    assert line is not None
    assert moved is not None
    for one, other in ((0.21, 0.25), (0.29, 0.2), (0.25, 0.25), (0.3, 0.2999)):
        assert line.chance(one, other) + line.chance(other, one) == 1
        assert moved.chance(one + 0.1, other + 0.1) == pytest.approx(line.chance(one, other))
    assert line.chance(0.25, 0.25) == 0.5
    assert line.chance(9.0, 0.0) <= 1 - SURE


def test_a_perfect_line_is_sure_but_never_certain() -> None:
    line = fit_line([Pair(str(x), x / 10, x / 10) for x in range(4)])
    assert line is not None
    assert line.s == pytest.approx(0, abs=1e-12)
    assert line.chance(0.2, 0.1) == 1 - SURE
    assert Line(1, 0, 0, 2, 0, 1, 0).chance(0.1, 0.2) == SURE
    assert Line(0, 0, 0.1, 2, 0, 1, 0).chance(0.1, 0.2) == 0.5


def test_no_line_through_too_little() -> None:
    assert fit_line([Pair("a", 0.1, 0.2), Pair("b", 0.2, 0.3)]) is None
    assert fit_line([Pair(name, 0.1, 0.2) for name in "abc"]) is None
    assert fit_blend([Pair("a", 0.1, 0.2), Pair("b", 0.2, 0.3)], []) is None


def test_a_blend_takes_its_level_from_its_own_pairs() -> None:
    generator = np.random.default_rng(7)
    others = simulated(generator, 15, 0.005, level=0.13)
    own = simulated(generator, 40, 0.005, level=0.17)
    alone, many = fit_blend(others, []), fit_blend(others, own)
    plain = fit_line(others)
    assert alone is not None
    assert many is not None
    assert plain is not None
    assert alone.at(0.25) == pytest.approx(plain.at(0.25))
    assert alone.predict(0.25).half_width > LEVEL_SPREAD  # nobody has seen its level
    assert many.at(0.25) == pytest.approx(0.17 + 0.9 * 0.25, abs=0.003)
    few = fit_blend(others, own[:1])
    assert few is not None
    assert many.predict(0.25).half_width < few.predict(0.25).half_width
    assert few.predict(0.25).half_width < alone.predict(0.25).half_width
    assert fit_blend([], own) == fit_line(own)


def test_intervals_of_blends_hold_where_levels_differ_as_expected() -> None:
    generator = np.random.default_rng(8)
    held, rounds = 0, 800
    for _ in range(rounds):
        others = simulated(generator, 15, 0.01)
        level = 0.13 + LEVEL_SPREAD * float(generator.standard_normal())
        *own, new = simulated(generator, 6, 0.01, level)
        line = fit_blend(others, own)
        assert line is not None
        low, high = line.predict(new.source).ends
        held += low <= new.target <= high
    assert 0.88 <= held / rounds <= 0.97
