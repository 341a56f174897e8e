"""Student's t distribution for whole degrees of freedom, so that nothing needs scipy."""

from __future__ import annotations

import math


def distribution(t: float, freedom: int) -> float:
    """P(T <= t): Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term = total = cosine if freedom % 2 else 1.0
    for k in range(2 + freedom % 2, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    if freedom == 1:
        total = 0.0
    within = (angle + sine * total) * 2 / math.pi if freedom % 2 else sine * total
    return (1 + within) / 2


def quantile(probability: float, freedom: int) -> float:
    """The t with P(T <= t) = probability, which lies between 0.5 and 1."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if distribution(middle, freedom) < probability else (low, middle)
    return high
