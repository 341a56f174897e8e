"""Refusals and guards: too few runs, directions that never varied, mixtures beyond the runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.mixtures.fit import fit_runs
from evaluation.mixtures.identify import beyond_seen, escapes, in_hull, span_of, standing
from evaluation.mixtures.laws import Floats
from evaluation.mixtures.predict import predict
from evaluation.mixtures.table import Mixtures, Runs
from submissions.failures import Failure


def shares(count: int, domains: int, seed: int = 0) -> Floats:
    found: Floats = np.random.default_rng(seed).dirichlet(np.ones(domains), size=count)
    return found


def test_m_plus_2_runs_are_refused_and_2m_make_a_prediction() -> None:
    for count in (18, 19):
        with pytest.raises(Failure) as caught:
            standing(shares(count, 17))
        assert caught.value.code == "too_few_runs"
    assert standing(shares(20, 17)) == "exploratory"
    assert standing(shares(33, 17)) == "exploratory"
    assert standing(shares(34, 17)) == "prediction"


def test_a_repeated_mixture_counts_once() -> None:
    with pytest.raises(Failure):
        standing(np.repeat(shares(4, 3), 5, axis=0))


def test_domains_that_vary_freely_are_all_identified() -> None:
    r = shares(20, 4)
    span = span_of("abcd", r)
    assert not span.sentences
    assert not escapes(span, shares(50, 4, 1)).any()


def test_a_domain_that_was_never_varied_is_named() -> None:
    r = np.column_stack([0.8 * shares(20, 3), np.full(20, 0.2)])
    span = span_of("abcd", r)
    assert span.sentences == ("d was never varied",)
    moved = np.array([[0.3, 0.3, 0.2, 0.2], [0.3, 0.3, 0.3, 0.1]])
    assert escapes(span, moved).tolist() == [False, True]


def test_two_domains_that_move_together_are_named() -> None:
    base = shares(20, 3)
    r = np.column_stack([base[:, :2], base[:, 2] / 2, base[:, 2] / 2])
    span = span_of("abcd", r)
    assert span.sentences == ("c and d always moved together",)
    moved = np.array([[0.4, 0.2, 0.2, 0.2], [0.4, 0.2, 0.3, 0.1]])
    assert escapes(span, moved).tolist() == [False, True]


def test_a_combination_that_was_never_varied_is_named() -> None:
    base = shares(20, 2)  # a + b and c + d stay at one half, within them the runs differ
    other = shares(20, 2, 1)
    span = span_of("abcd", np.column_stack([base / 2, other / 2]))
    assert len(span.sentences) == 1
    assert span.sentences[0].startswith("a combination of")
    assert escapes(span, np.array([[0.4, 0.3, 0.2, 0.1]])).all()


def test_an_unidentified_mixture_gets_no_number(runs_of_truth: Callable[..., Runs]) -> None:
    runs = runs_of_truth(20)
    r = np.column_stack([0.9 * runs.mixtures.values, np.full(20, 0.1)])
    fit = fit_runs(Runs(Mixtures(("a", "b", "c", "d"), r, 0), ("x", "y"), runs.losses, ""), "edp")
    assert "not identified: d was never varied" in fit.notes
    said = predict(fit, np.array([[0.3, 0.3, 0.3, 0.1], [0.3, 0.3, 0.0, 0.4]]))
    assert "unidentified" not in said.flags[0]
    assert np.isfinite(said.values[0]).all()
    assert "unidentified" in said.flags[1]
    for found in (said.values, said.low, said.high):
        assert np.isnan(found[1]).all()


def test_runs_of_one_mixture_only_are_refused() -> None:
    r = np.tile([0.5, 0.5], (8, 1)) + np.linspace(0, 1e-5, 8)[:, None] * [1, -1]
    runs = Runs(Mixtures(("a", "b"), r, 0), ("x",), np.linspace(2, 3, 8)[:, None], "")
    with pytest.raises(Failure, match="same mixture"):
        fit_runs(runs, "m4")


def test_the_hull_holds_averages_of_runs_and_nothing_else() -> None:
    r = shares(15, 4) * 0.6 + 0.1
    generator = np.random.default_rng(3)
    for weights in generator.dirichlet(np.full(15, 0.3), size=20):
        assert in_hull(r, weights @ r)
    for corner in np.eye(4):
        assert not in_hull(r, corner)
    middle = r.mean(axis=0)
    farthest = r[np.argmax(np.linalg.norm(r - middle, axis=1))]
    assert in_hull(r, farthest)
    assert not in_hull(r, middle + 1.01 * (farthest - middle))


def test_more_than_a_quarter_beyond_the_largest_share_is_flagged() -> None:
    r = np.array([[0.4, 0.6], [0.2, 0.8]])
    assert beyond_seen(r, np.array([0.5, 0.5])) == []
    assert beyond_seen(r, np.array([0.51, 0.49])) == [0]
    assert beyond_seen(r, np.array([0.0, 1.0])) == []


def test_predictions_carry_their_flags(runs_of_truth: Callable[..., Runs]) -> None:
    fit = fit_runs(runs_of_truth(24), "m4")
    said = predict(fit, np.vstack([fit.mixtures[:5].mean(axis=0), [0.0, 0.0, 1.0]]))
    assert said.flags[0] == ()
    assert "outside_hull" in said.flags[1]
    r = shares(7, 4)
    few = fit_runs(Runs(Mixtures(("a", "b", "c", "d"), r, 0), ("x",), 1 + r[:, :1], ""), "m4")
    # 7 runs of 4 domains, and an interval of 90 % needs 9
    assert predict(few, r[:1]).flags[0] == ("exploratory", "no_interval")
