"""Intervals: against a slow reference, and how often new runs lie in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.mixtures.fit import fit_runs
from evaluation.mixtures.intervals import cv_plus, ranks_of
from evaluation.mixtures.predict import predict
from evaluation.mixtures.table import Runs
from evaluation.student import cdf, quantile
from tests.evaluation.mixtures.conftest import Truth, drawn


def test_cv_plus_against_its_definition() -> None:
    generator = np.random.default_rng(0)
    by_fold, folds = generator.normal(size=(4, 6)), generator.integers(4, size=23)
    errors = np.abs(generator.normal(size=23))
    low, high = cv_plus(by_fold, folds, errors)
    for m in range(6):
        lows = sorted(by_fold[folds[i], m] - errors[i] for i in range(23))
        highs = sorted(by_fold[folds[i], m] + errors[i] for i in range(23))
        assert low[m] == lows[1]  # the floor(0.1 × 24) = 2nd smallest
        assert high[m] == highs[21]  # the ceil(0.9 × 24) = 22nd


def test_nine_runs_are_the_fewest_for_an_interval() -> None:
    assert ranks_of(8) is None
    assert ranks_of(9) == (0, 8)
    assert np.isnan(cv_plus(np.ones((1, 2)), np.zeros(8, dtype=int), np.ones(8))).all()
    assert ranks_of(19) == (1, 17)


@pytest.mark.parametrize("law", ["m4", "pslx"])
def test_nine_of_ten_new_runs_lie_in_the_interval(
    law: str, truth: Truth, runs_of_truth: Callable[..., Runs]
) -> None:
    """Of 90 %: the laws are wrong in form for one target, and the noise is real."""
    covered, inside_naive, count = 0, 0, 0
    for seed in range(12):
        fit = fit_runs(runs_of_truth(20, noise=0.01, seed=seed), law)
        new = drawn(40, 3, 1_000 + seed)
        noise = 0.01 * np.random.default_rng(2_000 + seed).standard_normal((40, 2))
        y = truth(new) + noise
        said = predict(fit, new)
        assert (said.low <= said.values).all()
        assert (said.values <= said.high).all()
        covered += int(((said.low <= y) & (y <= said.high)).sum())
        for k, target in enumerate(fit.targets):
            inside = np.std(target.losses - target.laws(fit.mixtures)[0])
            inside_naive += int((np.abs(y[:, k] - said.values[:, k]) <= 1.645 * inside).sum())
        count += y.size
    assert 0.85 <= covered / count <= 0.98
    assert inside_naive < covered  # what the fit's own residuals promise is less than it says


def test_students_distribution() -> None:
    """Quantiles of 95 %: table 26.10 of Abramowitz and Stegun."""
    expected = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 10: 1.812, 30: 1.697}
    for freedom, value in expected.items():
        assert quantile(0.95, freedom) == pytest.approx(value, abs=5e-4)
        assert cdf(value, freedom) + cdf(-value, freedom) == pytest.approx(1)
