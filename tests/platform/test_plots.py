"""The geometry of plots: inside the drawing, ticks on round values, nothing for no data."""

from __future__ import annotations

import pytest

from crucible.plots import dots_on_one_axis, interval_of, loss_plot, nice_step, ticks_between


@pytest.mark.parametrize(("span", "wanted", "step"), [(10, 5, 2), (1, 5, 0.2), (700, 6, 200)])
def test_steps_are_one_two_or_five(span, wanted, step):
    assert nice_step(span, wanted) == pytest.approx(step)


def test_ticks_lie_within():
    assert ticks_between(0.13, 0.52, 4) == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert ticks_between(2.0, 2.0, 4) == [2.0]


def test_a_loss_curve_stays_inside_its_frame():
    plot = loss_plot([(1, 8.0), (50, 5.0), (100, 3.25)])
    points = [tuple(map(float, p.split(","))) for p in plot.points.split()]
    assert points[0] == (plot.left, 12.0)
    assert points[-1] == (plot.right, plot.bottom)
    assert "from 8.000 at step 1 to 3.250 at step 100" in plot.summary


@pytest.mark.parametrize("curve", [[], [(1, 2.0)]])
def test_no_curve_no_plot(curve):
    assert loss_plot(curve) is None


def test_a_flat_curve_is_drawn_too():
    assert loss_plot([(1, 2.0), (2, 2.0)]) is not None


def test_dots_share_an_axis_that_shows_zero():
    first, second, none = dots_on_one_axis([(0.2, (0.15, 0.3)), (-0.1, None), (None, None)])
    assert none is None
    assert second.low == second.at == second.high == 6  # the left margin: the smallest value
    assert second.at < second.zero < first.low < first.at < first.high == 194
    assert first.zero == second.zero


def test_an_interval_from_the_standard_error():
    assert interval_of(0.5, 0.1) == pytest.approx((0.304, 0.696))
    assert interval_of(0.5, None) is None
    assert interval_of(None, 0.1) is None
