"""The best mixture: against many samples, its limits and its certificate; spread and gain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from evaluation.mixtures.advice import Goal, binding, gain_over, recommend, spread_of
from evaluation.mixtures.fit import Calibration, MixtureFit, fit_runs
from evaluation.mixtures.laws import LAWS, Floats
from evaluation.mixtures.limits import Limits, in_order, limits_of
from evaluation.mixtures.optimum import law_objective, optimise
from evaluation.mixtures.table import Runs
from submissions.failures import Failure
from tests.evaluation.mixtures.conftest import Truth

DOMAINS = tuple("abcdef")
EVEN = np.full(6, 1 / 6)


def some_laws(seed: int) -> list[tuple[str, Floats, float]]:
    generator = np.random.default_rng(seed)
    found = []
    for name, law in LAWS.items():
        theta = generator.uniform(-1.5, -0.1, size=law.count(6))
        theta[0] = 2.0
        found.append((name, theta, float(generator.uniform(0.5, 2))))
    return found


def sampled(limits: Limits, seed: int, count: int = 6_000) -> Floats:
    """Mixtures within the limits: near corners, in the middle, and moved into the caps."""
    generator = np.random.default_rng(seed)
    found = np.vstack([generator.dirichlet(np.full(6, c), size=count) for c in (0.2, 1.0, 5.0)])
    for _ in range(80):
        found = np.clip(found, limits.floors, limits.caps)
        found += (1 - found.sum(axis=1, keepdims=True)) / 6
    inside = ((found <= limits.caps + 1e-12) & (found >= limits.floors - 1e-12)).all(axis=1)
    return found[inside & (np.abs(found.sum(axis=1) - 1) < 1e-9)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_no_sample_is_better(seed: int, kl: float) -> None:
    laws = some_laws(seed)
    tokens = np.random.default_rng(seed).uniform(0.3, 3, size=6)
    floors = np.array([0.05, 0, 0, 0, 0.02, 0])
    limits = limits_of(DOMAINS, tokens, float(tokens.sum()), 2.0, floors)
    natural = tokens / tokens.sum()
    best = optimise(law_objective(laws, kl, natural), limits)
    assert best.mixture.sum() == pytest.approx(1, abs=1e-12)
    assert (best.mixture <= limits.caps + 1e-9).all()
    assert (best.mixture >= limits.floors - 1e-9).all()
    assert 0 <= best.gap <= 2e-6
    others = sampled(limits, seed)
    assert len(others) > 1_000
    values = sum(weight * LAWS[name].values(theta[None], others)[0] for name, theta, weight in laws)
    ratio = np.log(np.maximum(others, 1e-300) / natural)
    values = values + kl * (others * ratio).sum(axis=1)
    assert best.value <= values.min() + 1e-6
    assert best.value >= values.min() - 0.05  # and the objective is the same


def test_the_certificate_tells_a_bad_point_from_the_best() -> None:
    from evaluation.mixtures.optimum import gap_of

    limits = limits_of(DOMAINS, None, None)
    objective = law_objective(some_laws(1))
    best = optimise(objective, limits)
    value, gradient, _ = objective(EVEN)
    gap = gap_of(gradient, EVEN, limits)
    assert gap >= value - best.value - 1e-9  # it promises no more than there is
    assert gap > 100 * best.gap


def test_limits_that_allow_one_mixture_only() -> None:
    tokens = np.array([1.0, 2, 3, 1, 2, 1])
    limits = limits_of(DOMAINS, tokens, 20.0, 2.0)
    best = optimise(law_objective(some_laws(0)), limits)
    assert np.allclose(best.mixture, tokens / 10)
    floors = np.array([0.5, 0.5, 0, 0, 0, 0])
    best = optimise(law_objective(some_laws(0)), limits_of(DOMAINS, None, None, floors=floors))
    assert np.allclose(best.mixture, floors)


def test_a_source_without_tokens_stays_out() -> None:
    tokens = np.array([0.0, 2, 3, 1, 2, 1])
    best = optimise(law_objective(some_laws(0)), limits_of(DOMAINS, tokens, 9.0))
    assert best.mixture[0] == 0


def test_infeasible_limits_say_which_budget_would_do() -> None:
    tokens = np.full(6, 1e9)
    with pytest.raises(Failure, match=r"a budget of up to 2.4e\+10, or 6 epochs") as caught:
        limits_of(DOMAINS, tokens, 36e9)
    assert caught.value.code == "limits_infeasible"
    limits_of(DOMAINS, tokens, 24e9)  # that budget does
    limits_of(DOMAINS, tokens, 36e9, 6.0)
    with pytest.raises(Failure, match=r"the floor of a is 0\.9"):
        limits_of(DOMAINS, tokens, 6e9, 1.0, np.array([0.9, 0, 0, 0, 0, 0]))
    with pytest.raises(Failure, match=r"floors sum to 1\.2"):
        limits_of(DOMAINS, None, None, floors=np.full(6, 0.2))


def test_numbers_by_domain_with_and_without_the_prefix() -> None:
    assert in_order(("mix_a", "b"), {"b": 2, "a": 1}, "t").tolist() == [1, 2]
    assert in_order(("a", "b"), {"mix_b": 2}, "t", 0.0).tolist() == [0, 2]
    with pytest.raises(Failure, match='"c", which is no domain'):
        in_order(("a", "b"), {"a": 1, "b": 2, "c": 3}, "t")
    with pytest.raises(Failure, match='no number for the domain "b"'):
        in_order(("a", "b"), {"a": 1}, "t")


@pytest.fixture(scope="module")
def fit(runs_of_truth: Callable[..., Runs]) -> MixtureFit:
    return fit_runs(runs_of_truth(40, noise=0.002), "auto")


GOAL = Goal(np.array([0.5, 0.5]))
FREE = limits_of("abc", None, None)


def test_the_recommended_mixture_is_nearly_the_true_best(fit: MixtureFit, truth: Truth) -> None:
    best = recommend(fit, GOAL, FREE)
    grid = np.random.default_rng(0).dirichlet(np.ones(3), size=20_000)
    losses = truth(grid).mean(axis=1)
    assert truth(best.mixture[None]).mean() - losses.min() < 0.01
    spread = spread_of(fit, GOAL, FREE, best, resamples=30)
    assert (spread.low <= best.mixture + 0.02).all()
    assert (best.mixture - 0.02 <= spread.high).all()
    assert 0 <= spread.regret <= spread.regret_high < 0.01
    assert spread == spread_of_again(fit, best, spread)


def spread_of_again(fit: MixtureFit, best, spread):  # type: ignore[no-untyped-def]
    """The same draws give the same spread; arrays are compared here, the rest by the caller."""
    again = spread_of(fit, GOAL, FREE, best, resamples=30)
    assert (again.low == spread.low).all()
    assert (again.high == spread.high).all()
    return replace(again, low=spread.low, high=spread.high)


def test_few_noisy_runs_spread_wider(fit: MixtureFit, runs_of_truth: Callable[..., Runs]) -> None:
    noisy = fit_runs(runs_of_truth(12, noise=0.05), "edp")
    wide = spread_of(noisy, GOAL, FREE, recommend(noisy, GOAL, FREE), resamples=30)
    narrow = spread_of(fit, GOAL, FREE, recommend(fit, GOAL, FREE), resamples=30)
    assert (wide.high - wide.low).sum() > 2 * (narrow.high - narrow.low).sum()
    assert wide.regret > narrow.regret


def test_the_gain_has_an_interval_that_holds_the_truth(fit: MixtureFit, truth: Truth) -> None:
    best, natural = recommend(fit, GOAL, FREE).mixture, np.array([0.1, 0.1, 0.8])
    gain = gain_over(fit, GOAL, best, natural)
    there = truth(np.vstack([natural, best])).mean(axis=1)
    assert gain.low <= there[0] - there[1] <= gain.high
    assert 0 < gain.low <= gain.value <= gain.high


def test_the_caps_that_bind_are_named(fit: MixtureFit) -> None:
    limits = limits_of("abc", np.array([2, 0.05, 2]), 2.0, floors=np.array([0, 0, 0.7]))
    best = recommend(fit, GOAL, limits)
    assert set(binding(fit, limits, best.mixture)) == {("b", "cap"), ("c", "floor")}


def test_weights_choose_the_target(fit: MixtureFit) -> None:
    first = recommend(fit, Goal(np.array([1.0, 0])), FREE).mixture
    second = recommend(fit, Goal(np.array([0, 1.0])), FREE).mixture
    assert first[2] < 0.05
    assert second[2] > 0.9


def test_a_divergence_holds_the_mixture_near_the_natural_one(fit: MixtureFit) -> None:
    natural = np.array([0.2, 0.5, 0.3])
    far = recommend(fit, Goal(np.array([0, 1.0]), 0.0, natural), FREE).mixture
    near = recommend(fit, Goal(np.array([0, 1.0]), 100.0, natural), FREE).mixture
    assert np.abs(near - natural).max() < 0.01 < np.abs(far - natural).max()


def test_a_calibration_that_turns_the_order_around_has_no_best_mixture(fit: MixtureFit) -> None:
    line = Calibration(-0.5, 3.0, 3, 2.5, 0.1, 0.01)
    turned = replace(fit, targets=(replace(fit.targets[0], calibration=line), fit.targets[1]))
    with pytest.raises(Failure, match="a lower predicted loss goes with a higher one"):
        recommend(turned, GOAL, FREE)
