"""The laws' derivatives against finite differences, and their shape."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.mixtures.fitting import fit_law
from evaluation.mixtures.laws import LAWS, Floats, Law

R = np.random.default_rng(3).dirichlet(np.ones(4), size=9)


def some(law: Law, seed: int = 0, count: int = 3) -> Floats:
    """Parameters within the box."""
    generator = np.random.default_rng(seed)
    theta = generator.uniform(-0.8, -0.1, size=(count, law.count(4)))
    theta[:, 0] = 1.5
    return theta


@pytest.mark.parametrize("name", LAWS)
def test_derivatives_by_parameters(name: str) -> None:
    law = LAWS[name]
    theta = some(law)
    values, jacobian = law.jacobian(theta, R)
    assert np.allclose(values, law.values(theta, R), atol=1e-13)
    for k in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[k] = 1e-6
        slope = (law.values(theta + step, R) - law.values(theta - step, R)) / 2e-6
        assert np.allclose(jacobian[:, :, k], slope, atol=1e-7), k


@pytest.mark.parametrize("name", LAWS)
def test_derivatives_of_a_weighted_sum_by_proportions(name: str) -> None:
    law = LAWS[name]
    theta, weights = some(law), np.array([0.5, 2.0, 1.0])
    for point in R:
        value, gradient, hessian = law.slope(theta, weights, point)
        assert value == pytest.approx(weights @ law.values(theta, point[None])[:, 0], abs=1e-12)
        for k in range(4):
            step = np.zeros(4)
            step[k] = 1e-6
            up = law.slope(theta, weights, point + step)
            down = law.slope(theta, weights, point - step)
            assert gradient[k] == pytest.approx((up[0] - down[0]) / 2e-6, abs=1e-6)
            assert np.allclose(hessian[k], (up[1] - down[1]) / 2e-6, atol=1e-4)


@pytest.mark.parametrize("name", LAWS)
def test_every_law_is_convex_within_its_box(name: str) -> None:
    law = LAWS[name]
    generator = np.random.default_rng(5)
    box = law.box(4)
    low, high = np.maximum(box.lower, -3), np.minimum(box.upper, 3)
    theta = generator.uniform(low, high, size=(200, law.count(4)))
    ends = generator.dirichlet(np.full(4, 0.4), size=(2, 50))
    middle = law.values(theta, ends.mean(axis=0))
    chord = (law.values(theta, ends[0]) + law.values(theta, ends[1])) / 2
    assert (middle <= chord * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_found_again_from_its_own_losses(name: str) -> None:
    law = LAWS[name]
    generator = np.random.default_rng(11)
    r = generator.dirichlet(np.full(4, 0.6), size=60)
    theta = some(law, 7, 1)
    y = law.values(theta, r)[0]
    found = fit_law(name, r[:40], y[:40], np.ones((1, 40)), 1e-8)
    errors = np.abs(law.values(found, r[40:])[0] - y[40:])
    assert errors.mean() < 0.01 * np.ptp(y)
