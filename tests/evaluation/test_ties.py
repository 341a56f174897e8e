"""Places on a board: Holm by hand, and how often a simulated board is told something false."""

from __future__ import annotations

import numpy as np

from evaluation.ties import Places, holm, places_of


def test_holm_by_hand() -> None:
    # Ordered: 0.01 ≤ 0.05/4, 0.015 ≤ 0.05/3, 0.03 > 0.05/2: there it stops.
    assert holm([0.03, 0.01, 0.04, 0.015], 0.05) == [False, True, False, True]
    assert holm([0.04], 0.05) == [True]
    assert holm([], 0.05) == []
    assert holm([0.012, 0.3, 0.0166, 0.024], 0.05) == [True, False, True, True]


def independent(errors: list[float]) -> np.ndarray:
    return np.diag(np.square(errors))


def test_clear_differences_fix_every_place() -> None:
    assert places_of([0.9, 0.5, 0.1], independent([0.01] * 3)) == [
        Places(1, 1),
        Places(2, 2),
        Places(3, 3),
    ]


def test_a_leading_tie() -> None:
    found = places_of([0.50, 0.49, 0.30, 0.10], independent([0.02] * 4))
    assert found == [Places(1, 2), Places(1, 2), Places(3, 3), Places(4, 4)]


def test_a_tie_need_not_be_transitive() -> None:
    """The middle cannot be told from either neighbour, the ends can be told apart."""
    found = places_of([0.56, 0.50, 0.44], independent([0.03] * 3))
    assert found == [Places(1, 2), Places(1, 3), Places(2, 3)]


def test_shared_questions_separate_what_would_otherwise_tie() -> None:
    values, errors = [0.50, 0.47], np.array([0.02, 0.02])
    together = np.outer(errors, errors) * np.array([[1, 0.95], [0.95, 1]])
    assert places_of(values, independent(list(errors)))[0] == Places(1, 2)
    assert places_of(values, together)[0] == Places(1, 1)


def test_the_order_of_the_entries_does_not_matter() -> None:
    values = [0.1, 0.5, 0.3, 0.49]
    found = places_of(values, independent([0.02] * 4))
    assert [place.best for place in found] == [4, 1, 3, 1]


def test_boards_of_one_and_of_none() -> None:
    assert places_of([0.3], independent([0.1])) == [Places(1, 1)]
    assert places_of([], np.zeros((0, 0))) == []


def test_equal_scores_share_a_place_even_without_an_error() -> None:
    assert places_of([0.3, 0.3], np.zeros((2, 2))) == [Places(1, 2), Places(1, 2)]


def test_a_false_order_is_as_rare_as_promised() -> None:
    """Ten entries, of which five are equal: 1,000 boards, at most 5 per cent with an error."""
    generator = np.random.default_rng(4)
    truth = np.array([0.5] * 5 + [0.45, 0.4, 0.4, 0.3, 0.2])
    errors = np.full(10, 0.02)
    covariance = np.outer(errors, errors) * (0.3 + 0.7 * np.eye(10))
    best = np.array([1 + int((truth > t).sum()) for t in truth])
    worst = np.array([len(truth) - int((truth < t).sum()) for t in truth])
    wrong = uncorrected = 0
    for _ in range(1000):
        values = generator.multivariate_normal(truth, covariance)
        places = places_of(list(values), covariance)
        wrong += any(
            place.best > b or place.worst < w
            for place, b, w in zip(places, best, worst, strict=True)
        )
        gaps = np.abs(values[:5, None] - values[None, :5])
        uncorrected += bool((gaps > 1.96 * 0.02 * np.sqrt(1.4)).any())
    assert wrong <= 60
    assert uncorrected > 200  # what the correction is for
