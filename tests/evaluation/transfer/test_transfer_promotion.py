"""Which runs are worth making: draws are the prediction's, and picks follow their value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluation.transfer.calibration import calibrate
from evaluation.transfer.line import Line
from evaluation.transfer.promotion import next_runs, target_draws

LINE = calibrate("1b-1x", "7b-1x").line


def test_draws_are_distributed_as_the_prediction_says() -> None:
    sources = [0.22, 0.25, 0.28]
    drawn = target_draws(LINE, sources)
    for column, source in zip(drawn.T, sources, strict=True):
        low, high = LINE.predict(source).ends
        assert ((column >= low) & (column <= high)).mean() == pytest.approx(0.90, abs=0.008)
    ahead = (drawn[:, 2] > drawn[:, 1]).mean()
    assert ahead == pytest.approx(LINE.chance(0.28, 0.25), abs=0.012)


def test_the_first_pick_has_the_highest_expected_improvement() -> None:
    best = 0.37
    (pick,) = next_runs(LINE, {"low": 0.23, "high": 0.27, "middle": 0.25}, 1, best)
    assert pick.name == "high"
    # Jones and others' closed form for a normal variable, which t with 13 degrees is nearly.
    found = LINE.predict(0.27)
    error = found.half_width / 1.7709
    z = (found.value - best) / error
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    below = (1 + math.erf(z / math.sqrt(2))) / 2
    assert pick.gain == pytest.approx((found.value - best) * below + error * density, rel=0.08)
    assert pick.expected_best == pytest.approx(best + (pick.gain or 0))


def test_gains_fall_and_the_budget_ends_the_picks() -> None:
    entries = {f"e{n}": 0.24 + n / 500 for n in range(10)}
    picks = next_runs(LINE, entries, 4)
    assert [pick.name for pick in picks] == ["e9", "e8", "e7", "e6"]
    assert picks[0].gain is None
    gains = [pick.gain for pick in picks[1:]]
    assert all(gain is not None and gain > 0 for gain in gains)
    assert gains == sorted(gains, key=lambda gain: gain or 0, reverse=True)
    assert len(next_runs(LINE, entries, 99)) == 10
    assert sum(pick.best_chance for pick in next_runs(LINE, entries, 99)) == pytest.approx(1)
    assert next_runs(LINE, entries, 4) == picks  # the same every time


def test_a_sure_line_gains_nothing_by_a_second_run() -> None:
    sure = Line(slope=1, intercept=0, s=0, df=9, centre=0.2, spread=0.01, level_variance=0)
    first, second = next_runs(sure, {"a": 0.25, "b": 0.24}, 2, best=0.2)
    assert (first.name, first.gain) == ("a", pytest.approx(0.05))
    assert second.gain == pytest.approx(0)
    assert np.isclose(first.best_chance, 1)
