"""Fits in batches against fits one by one, cross-validation, and the choice of a law."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from evaluation.mixtures.fit import fit_runs
from evaluation.mixtures.fitting import fit_law
from evaluation.mixtures.laws import LAWS
from evaluation.mixtures.least_squares import nonnegative
from evaluation.mixtures.quality import quality, spearman
from evaluation.mixtures.selection import CANDIDATES, choose, folds_of
from evaluation.mixtures.table import Runs
from submissions.failures import Failure


@pytest.mark.parametrize("name", LAWS)
def test_a_batch_of_folds_equals_fits_one_by_one(
    name: str, runs_of_truth: Callable[..., Runs]
) -> None:
    runs = runs_of_truth(20)
    r, y = runs.mixtures.values, runs.losses[:, 0]
    weights = 1 - np.eye(20)[:6]
    together = fit_law(name, r, y, weights, 1e-3)
    for fold in range(6):
        kept = weights[fold] > 0
        alone = fit_law(name, r[kept], y[kept], np.ones((1, 19)), 1e-3)
        one = LAWS[name].values(together[fold : fold + 1], r)
        assert np.allclose(one, LAWS[name].values(alone, r), atol=2e-4)


def test_a_weight_counts_a_run_twice(runs_of_truth: Callable[..., Runs]) -> None:
    runs = runs_of_truth(12)
    r, y = runs.mixtures.values, runs.losses[:, 1]
    weights = np.ones((1, 12))
    weights[0, 3] = 2
    weighted = fit_law("m4", r, y, weights, 1e-4)
    twice = fit_law("m4", np.vstack([r, r[3]]), np.r_[y, y[3]], np.ones((1, 13)), 1e-4)
    assert np.allclose(LAWS["m4"].values(weighted, r), LAWS["m4"].values(twice, r), atol=1e-5)


def test_one_wild_run_does_not_move_the_law(runs_of_truth: Callable[..., Runs]) -> None:
    runs = runs_of_truth(40, noise=0.001)
    r, y = runs.mixtures.values, runs.losses[:, 1].copy()
    y[5] += 1.0
    found = fit_law("m4", r, y, np.ones((1, 40)), 1e-6)
    others = np.arange(40) != 5
    assert np.abs(LAWS["m4"].values(found, r)[0] - runs.losses[:, 1])[others].mean() < 0.005


def test_non_negative_least_squares_against_all_choices_of_positive_weights() -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        matrix, target = generator.normal(size=(7, 5)), generator.normal(size=7)
        found = nonnegative(matrix, target)
        assert (found >= 0).all()
        best = np.linalg.norm(target)
        for size in range(1, 6):
            for columns in itertools.combinations(range(5), size):
                part = matrix[:, list(columns)]
                solved = np.linalg.lstsq(part, target, rcond=None)[0]
                if (solved >= 0).all():
                    best = min(best, float(np.linalg.norm(part @ solved - target)))
        assert np.linalg.norm(matrix @ found - target) == pytest.approx(best, abs=1e-9)


def test_runs_of_one_mixture_share_a_fold() -> None:
    r = np.repeat(np.random.default_rng(0).dirichlet(np.ones(3), size=35), 2, axis=0)
    folds = folds_of(r, 4)
    assert (folds[::2] == folds[1::2]).all()
    assert sorted(set(folds)) == list(range(10))
    assert np.bincount(folds).min() >= 6


def test_few_runs_are_left_out_one_by_one() -> None:
    folds = folds_of(np.random.default_rng(0).dirichlet(np.ones(3), size=29), 0)
    assert sorted(folds) == list(range(29))


def test_no_law_sees_the_run_that_it_predicts(runs_of_truth: Callable[..., Runs]) -> None:
    """A run's own loss, however wrong, leaves its out-of-fold prediction as it is."""
    runs = runs_of_truth(14)
    r, y = runs.mixtures.values, runs.losses[:, 0]
    folds = folds_of(r, 0)
    before = choose("edp", r, y, folds).best.out_of_fold
    moved = y.copy()
    moved[4] += 0.7
    after = choose("edp", r, moved, folds).best.out_of_fold
    assert after[4] == pytest.approx(before[4], abs=1e-9)
    assert np.abs(after - before).max() > 1e-4  # the others saw it


def test_auto_takes_the_form_that_the_losses_have(runs_of_truth: Callable[..., Runs]) -> None:
    r = runs_of_truth(40).mixtures.values
    theta = np.array([[1.0, 0.5, -0.4, -1.2]])
    y = LAWS["m4"].values(theta, r)[0]
    chosen = choose("auto", r, y, folds_of(r, 0))
    assert chosen.best.candidate.law == "m4"
    assert [candidate for candidate, _ in chosen.tried] == list(CANDIDATES["auto"])


def test_laws_beat_the_mean_and_a_linear_model(runs_of_truth: Callable[..., Runs]) -> None:
    fit = fit_runs(runs_of_truth(40), "auto")
    for target in fit.targets:
        plain = fit.baselines()[target.name]
        assert target.quality.mae < plain["linear"].mae < plain["mean"].mae
    assert fit.targets[0].quality.mae < 0.02


def test_rank_correlation_with_ties() -> None:
    assert spearman(np.array([1.0, 2, 3]), np.array([2.0, 4, 9])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    # ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3: 4.5 / sqrt(4.5 × 5)
    tied = spearman(np.array([1.0, 2, 2, 5]), np.array([1.0, 2, 3, 4]))
    assert tied == pytest.approx(4.5 / 22.5**0.5)
    assert spearman(np.ones(4), np.arange(4.0)) is None
    errors = quality(np.array([2.0, 3.0]), np.array([1.0, 4.0]))
    assert (errors.mae, errors.mre) == (1.0, 0.625)


def test_a_target_that_never_changes_is_refused(runs_of_truth: Callable[..., Runs]) -> None:
    runs = runs_of_truth(12)
    still = Runs(runs.mixtures, ("x",), np.full((12, 1), 3.0), runs.data_hash)
    with pytest.raises(Failure, match="x is the same in every run") as caught:
        fit_runs(still, "m4")
    assert caught.value.code == "runs_invalid"
