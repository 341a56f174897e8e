"""The figures that come with Crucible, and every number that docs/transfer.md takes from them."""

from __future__ import annotations

from collections import Counter

import pytest

from evaluation.transfer.calibration import calibrate
from evaluation.transfer.published import read_published
from evaluation.transfer.quality import Quality, judge
from evaluation.transfer.runs import By, RecipeName, recipe_of, values_at


def judged(source: str, target: str, recipe: RecipeName = "published", by: By = "core") -> Quality:
    quality = judge(calibrate(source, target, recipe, by=by))
    assert quality is not None
    return quality


def test_which_runs_there_are() -> None:
    runs = read_published().runs
    counts = {
        scale: len(values_at(runs, scale, recipe_of(scale, "published")))
        for scale in ("400m-1x", "1b-1x", "1b-5x", "7b-1x")
    }
    assert counts == {"400m-1x": 12, "1b-1x": 57, "1b-5x": 8, "7b-1x": 19}
    assert len(values_at(runs, "7b-1x", recipe_of("7b-1x", "official"))) == 5
    assert len({run.evaluation for run in runs}) == len(runs)
    assert read_published().commit.startswith("361714b")


def test_two_datasets_that_share_a_uuid_stay_two() -> None:
    at_1b = values_at(read_published().runs, "1b-1x", recipe_of("1b-1x", "official"))
    assert at_1b["c4_original"] == pytest.approx(0.2113, abs=5e-5)
    assert at_1b["rw_original"] == pytest.approx(0.2255, abs=5e-5)


@pytest.mark.parametrize(
    ("source", "target", "n", "intercept", "slope", "s"),
    [
        ("400m-1x", "1b-1x", 12, 0.1279, 0.9408, 0.02058),
        ("400m-1x", "7b-1x", 11, 0.1696, 1.4247, 0.01571),
        ("1b-1x", "7b-1x", 15, 0.1320, 0.8796, 0.00936),
        ("1b-1x", "1b-5x", 8, -0.0310, 1.3451, 0.01632),
    ],
)
def test_the_lines(
    source: str, target: str, n: int, intercept: float, slope: float, s: float
) -> None:
    line = calibrate(source, target).line
    assert len(calibrate(source, target).datasets) == n
    assert line.intercept == pytest.approx(intercept, abs=5e-5)
    assert line.slope == pytest.approx(slope, abs=5e-5)
    assert line.s == pytest.approx(s, abs=5e-6)


@pytest.mark.parametrize(
    ("source", "target", "right", "of", "brier", "order", "log_loss", "log_order"),
    [
        ("400m-1x", "1b-1x", 48, 66, 0.204, 0.213, 0.622, 0.626),
        ("400m-1x", "7b-1x", 46, 55, 0.115, 0.1455, 0.369, 0.477),
        ("1b-1x", "7b-1x", 87, 105, 0.085, 0.147, 0.260, 0.475),
        ("1b-1x", "1b-5x", 26, 28, 0.072, 0.078, 0.237, 0.407),
    ],
)
def test_orders_and_chances_of_datasets_held_out(
    source: str, target: str, right: int, of: int, brier: float, order: float,
    log_loss: float, log_order: float,
) -> None:  # fmt: skip
    quality = judged(source, target)
    assert quality.decision_accuracy == pytest.approx(right / of)
    assert quality.brier == pytest.approx(brier, abs=5e-4)
    assert quality.brier_order == pytest.approx(order, abs=5e-4)
    assert quality.log_loss == pytest.approx(log_loss, abs=5e-4)
    assert quality.log_loss_order == pytest.approx(log_order, abs=5e-4)


def test_from_1b_to_7b_in_full() -> None:
    calibration = calibrate("1b-1x", "7b-1x")
    found = calibration.predict(0.28)
    assert found.value == pytest.approx(0.378, abs=5e-4)
    assert found.half_width == pytest.approx(0.018, abs=5e-4)
    for gap, chance in ((0.005, 0.627), (0.01, 0.740), (0.02, 0.895), (0.03, 0.964)):
        found_chance = calibration.compare(0.25 + gap, 0.25).probability
        assert found_chance == pytest.approx(chance, abs=5e-4)
    quality = judged("1b-1x", "7b-1x")
    assert quality.mae == pytest.approx(0.0084, abs=5e-5)
    assert quality.mean_mae == pytest.approx(0.0236, abs=5e-5)
    assert sum(held.hit for held in quality.held_out) == 14
    assert quality.brier_gain_interval[1] < 0
    assert [(c.right, c.of) for c in quality.by_gap()] == [(9, 26), (15, 16), (12, 12), (51, 51)]
    families = {c.name: (c.right, c.of) for c in quality.by_family()}
    assert families["openhermes – openhermes"] == (11, 21)
    assert families["openhermes – other"] == (55, 56)
    assert families["other – other"] == (21, 28)
    named = quality.named(0.8)
    assert (named.right, named.of) == (72, 73)


def test_chances_are_calibrated_over_all_scale_pairs() -> None:
    total: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for scales in (("400m-1x", "1b-1x"), ("400m-1x", "7b-1x"), ("1b-1x", "7b-1x"),
                   ("1b-1x", "1b-5x")):  # fmt: skip
        for count in judged(*scales).by_chance():
            total[count.name] += count.of
            right[count.name] += int(count.right)
    assert list(total.values()) == [36, 61, 57, 44, 56]
    shares = [round(right[name] / total[name], 2) for name in total]
    assert shares == [0.50, 0.67, 0.89, 0.93, 1.00]


def test_the_texts_losses_at_400m_order_better_than_accuracies() -> None:
    for target, right, of in (("1b-1x", 58, 66), ("7b-1x", 49, 55)):
        quality = judged("400m-1x", target, by="loss")
        assert quality.decision_accuracy == pytest.approx(right / of)
        assert quality.brier < judged("400m-1x", target).brier


def test_the_official_recipe_is_blended() -> None:
    calibration = calibrate("1b-1x", "7b-1x", "official")
    line = calibration.line
    assert len(calibration.datasets) == 15
    assert len(calibration.pairs) == 5
    assert (line.intercept, line.slope) == (
        pytest.approx(0.1135, abs=5e-5),
        pytest.approx(1.0914, abs=5e-5),
    )
    assert line.s == pytest.approx(0.01298, abs=5e-6)
    assert line.df == 6.5
    for source, value, half in ((0.25, 0.386, 0.028), (0.28, 0.419, 0.031)):
        found = calibration.predict(source)
        assert (found.value, found.half_width) == (
            pytest.approx(value, abs=5e-4),
            pytest.approx(half, abs=5e-4),
        )
    quality = judged("1b-1x", "7b-1x", "official")
    assert quality.mae == pytest.approx(0.0166, abs=5e-5)
    assert quality.half_width == pytest.approx(0.030, abs=5e-4)
    assert all(held.hit for held in quality.held_out)


def test_repeats_with_another_seed() -> None:
    found = [(r.scale, round(abs(r.cores[0] - r.cores[1]), 4)) for r in read_published().repeats]
    assert found == [("1b-1x", 0.0045), ("7b-2x", 0.0024), ("7b-2x", 0.0027)]
