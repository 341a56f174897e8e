"""Student's t distribution with any positive degrees of freedom, without scipy.

The distribution function is a regularised incomplete beta function (DLMF 8.17), which a continued
fraction gives to about 14 digits (DLMF 8.17.22, evaluated as Lentz did, Applied Optics 15, 1976).
Whole degrees of freedom do not suffice: blended calibrations have fractions.
"""

from __future__ import annotations

import math
from functools import lru_cache

TINY = 1e-300
PRECISION = 1e-15
MOST_TERMS = 10_000


def cdf(t: float, df: float) -> float:
    """The chance that a t variable of `df` degrees of freedom is at most `t`."""
    if df <= 0:
        raise ValueError(f"degrees of freedom must be positive, not {df}")
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    tail = _incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2
    return 1 - tail if t > 0 else tail


@lru_cache(maxsize=256)  # a board asks for the same few again and again
def quantile(share: float, df: float) -> float:
    """The t that `cdf` maps to `share`, which lies between 0 and 1 (both excluded)."""
    if not 0 < share < 1:
        raise ValueError(f"a share lies between 0 and 1, not {share}")
    if share < 0.5:
        return -quantile(1 - share, df)
    low, high = 0.0, 1.0
    while cdf(high, df) < share:
        low, high = high, 2 * high
    while high - low > 1e-13 * max(high, 1.0):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if cdf(middle, df) < share else (low, middle)
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b) for x in [0, 1]."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side alone
        return 1 - _incomplete_beta(b, a, 1 - x)
    logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(logs + a * math.log(x) + b * math.log1p(-x))
    return front / a / _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """1 + d1/(1 + d2/(1 + …)) with the d of DLMF 8.17.22."""
    value = c = 1.0
    d = 0.0
    for number in range(1, MOST_TERMS):
        m, odd = divmod(number, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 + term * d
        c = 1 + term / c
        d = 1 / (d if abs(d) > TINY else TINY)
        c = c if abs(c) > TINY else TINY
        value *= c * d
        if abs(c * d - 1) < PRECISION:
            break
    return value
