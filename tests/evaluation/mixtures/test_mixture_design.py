"""Designs: the first runs and the next ones, within caps, that tell as much as they can."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.mixtures.design import PRIOR, candidates_of, first_design, next_runs
from evaluation.mixtures.fit import fit_runs
from evaluation.mixtures.fitting import fit_law
from evaluation.mixtures.identify import span_of
from evaluation.mixtures.laws import LAWS
from evaluation.mixtures.limits import limits_of
from evaluation.mixtures.table import Runs
from tests.evaluation.mixtures.conftest import Truth

NAMES = tuple("abcde")
TOKENS = np.array([50e9, 20e9, 10e9, 4e9, 1e9])
LIMITS = limits_of(NAMES, TOKENS, 85e9)


def test_a_first_design_keeps_to_the_caps_and_identifies_every_source() -> None:
    proposals = first_design(TOKENS / TOKENS.sum(), LIMITS, 12, seed=0)
    r = np.array([proposal.mixture for proposal in proposals])
    assert len(np.unique(r, axis=0)) == 12
    assert np.allclose(r.sum(axis=1), 1, atol=1e-9)
    assert (r <= LIMITS.caps + 1e-9).all()
    assert (r >= 0).all()
    assert np.allclose(r[0], TOKENS / TOKENS.sum(), atol=1e-5)
    assert not span_of(NAMES, r).sentences
    assert ((r == 0).sum(axis=0) >= 1).all()  # every source is left out somewhere
    assert (r.max(axis=0) > 0.5 * LIMITS.caps).all()  # and taken in plenty elsewhere


def test_a_design_is_the_same_for_the_same_seed() -> None:
    one, again = (first_design(TOKENS / 85e9, LIMITS, 8, seed) for seed in (0, 0))
    assert all((p.mixture == q.mixture).all() for p, q in zip(one, again, strict=True))
    assert (candidates_of(LIMITS, 0)[:20] != candidates_of(LIMITS, 1)[:20]).any()


def test_each_run_is_the_one_that_adds_most_to_the_determinant() -> None:
    """Slowly: the determinant for every candidate."""
    first, second = first_design(TOKENS / 85e9, LIMITS, 2, seed=3)
    candidates = candidates_of(LIMITS, 3)

    def information(r):  # type: ignore[no-untyped-def]
        features = np.hstack([r, np.sqrt(r)])
        return PRIOR * np.eye(10) + features.T @ features

    logs = [np.linalg.slogdet(information(np.vstack([first.mixture, r])))[1] for r in candidates]
    assert np.allclose(candidates[int(np.argmax(logs))], second.mixture)


def test_candidates_keep_to_floors_and_caps() -> None:
    limits = limits_of(NAMES, TOKENS, 200e9, 4.0, np.array([0, 0, 0.05, 0, 0.01]))
    r = candidates_of(limits, 0)
    assert len(r) > 300
    assert (r <= limits.caps + 1e-6).all()
    assert (r >= limits.floors - 1e-9).all()
    assert np.allclose(r.sum(axis=1), 1, atol=1e-9)


def test_a_design_beats_runs_near_the_natural_mixture(truth: Truth) -> None:
    """The law from designed runs predicts mixtures all over the triangle better."""
    natural = np.array([0.6, 0.3, 0.1])
    limits = limits_of("abc", None, None)
    designed = np.array([p.mixture for p in first_design(natural, limits, 12, 0)])
    generator = np.random.default_rng(4)
    near = generator.dirichlet(natural * 40, size=12)
    new = generator.dirichlet(np.ones(3), size=200)
    errors = []
    for r in (designed, near):
        y = truth(r)[:, 0] + 0.003 * np.random.default_rng(5).standard_normal(12)
        theta = fit_law("edp", r, y, np.ones((1, 12)), 1e-4)
        errors.append(np.abs(LAWS["edp"].values(theta, new)[0] - truth(new)[:, 0]).mean())
    assert errors[0] < errors[1]


def test_next_runs_go_where_the_fit_knows_least(runs_of_truth: Callable[..., Runs]) -> None:
    """Runs that hardly held c: the next one holds plenty, and its interval is given."""
    runs = runs_of_truth(24)
    r = runs.mixtures.values * [1, 1, 0.05]
    r /= r.sum(axis=1, keepdims=True)
    poor = Runs(runs.mixtures.__class__(("a", "b", "c"), r, 0), ("x",), runs.losses[:, :1], "")
    proposals = next_runs(fit_runs(poor, "edp"), limits_of("abc", None, None), 3)
    assert len(proposals) == 3
    assert proposals[0].mixture[2] > 0.5
    assert all(p.width is not None and p.width > 0 for p in proposals)
    assert proposals[0].mixture.sum() == pytest.approx(1)
