"""Across scales: power laws, extrapolated tables, a line through larger runs, a critical share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.mixtures.critical import critical_share
from evaluation.mixtures.fit import Pool, fit_runs
from evaluation.mixtures.laws import LAWS
from evaluation.mixtures.predict import predict
from evaluation.mixtures.repetition import epochs_of, matched_tokens, warnings_of
from evaluation.mixtures.scales_of_runs import chosen
from evaluation.mixtures.scaling import extrapolated, fit_power_law, number_of_size
from evaluation.mixtures.table import Runs, columns_of, read_table
from evaluation.mixtures.transfer import calibrate, line_of
from submissions.failures import Failure
from tests.evaluation.mixtures.conftest import Truth, drawn, write_table


def test_a_power_law_is_found_and_extrapolated() -> None:
    x = np.array([10e3, 12e3, 15e3, 20e3, 25e3, 30e3])
    c, a = np.array([2.0, 3.1]), np.array([40.0, 90.0])
    y = c + a * x[:, None] ** -0.45
    law = fit_power_law(x, y)
    assert law.alpha == pytest.approx(0.45, abs=0.03)
    assert np.allclose(law.at(1e5), c + a * 1e5**-0.45, atol=0.01)


def test_a_wild_point_hardly_moves_a_power_law() -> None:
    x = np.geomspace(1e3, 1e4, 12)
    y = (2 + 30 * x**-0.5)[:, None]
    y[4] += 0.5
    assert fit_power_law(x, y).at(3e4)[0] == pytest.approx(2 + 30 * 3e4**-0.5, abs=0.03)
    mean = (2 + 30 * x**-0.5)[:, None] + 0.5 / 12  # what plain least squares follows
    assert fit_power_law(x, mean).at(3e4)[0] > 2.2


def scales_table(path: Path, truth: Truth) -> Path:
    """Eight mixtures at three sizes and six steps: loss = truth + 20 N^-0.3 + 9 S^-0.5."""
    rows = []
    for number, r in enumerate(drawn(8, 3, 3)):
        losses = truth(r[None])[0]
        for size in ("10M", "40M", "160M"):
            n = float(size[:-1]) * 1e6
            for step in (1_000, 3_000, 4_000, 5_000, 6_000, 8_000):
                more = 20 * n**-0.3 + 9 * step**-0.5
                rows.append([size, f"{size}_{number}", step, *r, *(losses + more)])
    rows.append(["10M", "base", -1, "", "", "", 9, 9])
    names = ["size", "run", "step", "mix_a", "mix_b", "mix_c", "loss_x", "loss_y"]
    return write_table(path, names, rows)


def test_rows_of_one_scale_are_chosen(tmp_path: Path, truth: Truth) -> None:
    table = read_table(scales_table(tmp_path / "t.csv", truth))
    domains = columns_of(table, None, "mix_")
    with pytest.raises(Failure, match="several sizes \\(10M, 160M, 40M\\)"):
        chosen(table, domains, None, None)
    rows, notes = chosen(table, domains, "40M", None)
    assert {row.cells["step"] for row in rows.rows} == {"8000"}
    assert len(rows.rows) == 8
    assert notes == [
        "left out because they have no proportions (a base model): lines 146",
        "the rows of step 8000 were taken, the last that every run has",
    ]
    rows, _ = chosen(table, domains, "10M", 1_000)
    assert {row.cells["step"] for row in rows.rows} == {"1000"}
    with pytest.raises(Failure, match='no row has the size "7B"'):
        chosen(table, domains, "7B", None)
    with pytest.raises(Failure, match="no row is of step 7"):
        chosen(table, domains, "10M", 7)


def test_nested_laws_reach_a_scale_that_was_not_trained(tmp_path: Path, truth: Truth) -> None:
    table = read_table(scales_table(tmp_path / "t.csv", truth))
    domains, targets = columns_of(table, None, "mix_"), columns_of(table, None, "loss_")
    runs, label = extrapolated(table, domains, targets, "1B", 40_000)
    expected = truth(runs.mixtures.values) + 20 * 1e9**-0.3 + 9 * 40_000**-0.5
    assert np.abs(runs.losses - expected).max() < 0.05
    assert label.startswith("uncalibrated: extrapolated to size 1B and step 40000")
    fit = replace(fit_runs(runs, "m4"), uncalibrated=label)
    assert "uncalibrated" in predict(fit, runs.mixtures.values[:1]).flags[0]
    measured, _ = extrapolated(table, domains, targets, "1B", 8_000)  # all runs reached that
    expected = truth(measured.mixtures.values) + 20 * 1e9**-0.3 + 9 * 8_000**-0.5
    assert np.abs(measured.losses - expected).max() < 0.02
    with pytest.raises(Failure, match="2 sizes below 100M: 3 are needed"):
        extrapolated(table, domains, targets, "100M", None)
    with pytest.raises(Failure, match="several sizes"):
        extrapolated(table, domains, targets, None, 40_000)


def test_sizes_are_read() -> None:
    table = replace_table()
    assert number_of_size(table, "1.4B") == 1.4e9
    assert number_of_size(table, "85000000") == 85e6
    for wrong in ("", "big", "-3M", "1e400"):
        with pytest.raises(Failure):
            number_of_size(table, wrong)


def replace_table():  # type: ignore[no-untyped-def]
    from evaluation.mixtures.table import Table

    return Table("t.csv", ("a",), (), "")


def test_a_line_through_larger_runs(runs_of_truth: Callable[..., Runs]) -> None:
    small = fit_runs(runs_of_truth(40, noise=0.001), "pslx")
    large = runs_of_truth(8, noise=0.001, seed=9)
    large = replace(large, losses=0.4 + 0.6 * large.losses)
    there, reports = calibrate(small, large)
    assert [report.name for report in reports] == ["x", "y"]
    for report in reports:
        assert report.line.slope == pytest.approx(0.6, abs=0.06)
        assert report.calibrated is not None
        assert report.mean is not None
        assert report.calibrated.mre < report.mean.mre / 3
        assert report.uncalibrated.mre > 10 * report.calibrated.mre
    new = runs_of_truth(30, noise=0.001, seed=21)
    said = predict(there, new.mixtures.values)
    y = 0.4 + 0.6 * new.losses
    assert np.abs(said.values - y).mean() < 0.02
    assert ((said.low <= y) & (y <= said.high)).mean() > 0.8
    with pytest.raises(Failure, match="already calibrated"):
        calibrate(there, large)


def test_one_larger_run_gives_the_level_and_no_interval(runs_of_truth: Callable[..., Runs]) -> None:
    small = fit_runs(runs_of_truth(30), "edp")
    large = runs_of_truth(40, seed=5)
    one = replace(
        large,
        mixtures=replace(large.mixtures, values=large.mixtures.values[:1]),
        targets=("y",),
        losses=large.losses[:1, 1:] / 2,
    )
    there, reports = calibrate(small, one)
    assert reports[0].line.slope == pytest.approx(0.5, abs=0.01)
    assert "no losses at the larger scale: x" in there.notes
    said = predict(there, one.mixtures.values)
    assert said.values[0, 0] == pytest.approx(one.losses[0, 0])
    assert math.isnan(said.low[0, 0])
    assert "no_interval" in said.flags[0]


def test_two_close_runs_do_not_set_the_slope() -> None:
    """Their noise would: the slope stays near the ratio of the levels."""
    line = line_of(np.array([3.0, 3.001]), np.array([2.40, 2.43]), 0.04)
    assert line.slope == pytest.approx(2.415 / 3.0005, abs=0.02)
    far = line_of(np.array([2.5, 3.5]), np.array([2.0, 2.6]), 0.04)
    assert far.slope == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("law", ["m4", "edp"])
def test_a_critical_share_is_found(law: str) -> None:
    theta = np.array([[2.6, -2.5, -0.8]])
    shares = np.array([0.1, 0.2, 0.4, 0.6])
    losses = LAWS["m4"].values(theta, np.column_stack([shares, 1 - shares]))[0]
    base = float(LAWS["m4"].values(theta, np.array([[0.31, 0.69]]))[0, 0])
    found = critical_share(shares, losses, base, law)
    assert found.share == pytest.approx(0.31, abs=0.005)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.share <= found.high
    assert found.inside
    assert np.abs(found.left_out - losses).max() < 0.05


def test_a_base_that_no_share_reaches_is_said() -> None:
    shares = np.array([0.1, 0.2, 0.4, 0.6])
    found = critical_share(shares, 3 - shares, 1.0)
    assert (found.share, found.crossings, found.inside) == (None, (), False)
    with pytest.raises(Failure, match="needs 4 runs") as caught:
        critical_share(shares[:3], 3 - shares[:3], 2.5)
    assert caught.value.code == "too_few_runs"


def test_repetition_is_matched_by_the_ratio_of_budgets() -> None:
    tokens, r = np.array([1e9, 5e9]), np.array([0.5, 0.5])
    kept = matched_tokens(tokens, 1e9, 10e9)
    assert kept.tolist() == [1e8, 5e8]
    assert np.allclose(epochs_of(r, kept, 1e9), epochs_of(r, tokens, 10e9))
    matched = warnings_of("ab", Pool(kept, 1e9), r, tokens, 10e9)
    assert matched == []
    (other,) = warnings_of("ab", Pool(tokens, 1e9), r, tokens, 10e9)
    assert other.startswith("a is read 5 times here, and 0.5 times")
    assert "1e+08" in other
    (unknown,) = warnings_of("ab", None, r, tokens, 10e9)
    assert unknown.startswith("repeated here: a.")
    assert warnings_of("ab", None, r, tokens, 1e9) == []
