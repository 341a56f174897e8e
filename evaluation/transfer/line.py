"""The line from a score at a small scale to the score at a large one, with its errors.

One straight line, target = intercept + slope × source, fitted to datasets that were trained at both
scales. Its scatter holds one run's seed and sampling noise at both scales, so no standard error is
added a second time. Student's t widens everything for the few datasets there are. `fit_line` is
ordinary least squares; `fit_blend` joins runs under another recipe (known in plenty, worth less)
with runs under the recipe in question, which set the level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from evaluation.student import cdf, quantile

LEVEL = 0.90
SURE = 0.01  # no chance is said to be nearer to 0 or 1 than this
# Of blends: what a pair under another recipe counts beside one under the recipe in question, and
# how far the levels of two recipes lie apart a priori (standard deviation, in score). Both were
# chosen on DCLM's published runs, for coverage: docs/transfer.md.
OTHER_WEIGHT = 0.25
LEVEL_SPREAD = 0.03
SAME = 1e-14  # a sum of squares below it is rounding: all sources are equal


@dataclass(frozen=True)
class Pair:
    """One dataset's scores at two scales, as shares (CORE 25.3 is 0.253)."""

    dataset: str
    source: float
    target: float


@dataclass(frozen=True)
class Interval:
    """A value and how far the truth may lie on either side of it, with probability `LEVEL`."""

    value: float
    half_width: float

    @property
    def ends(self) -> list[float]:
        """Lower and upper end."""
        return [self.value - self.half_width, self.value + self.half_width]


@dataclass(frozen=True)
class Line:
    """A fitted line.

    `s` is the scatter of single runs about it (standard deviation, `df` degrees of freedom),
    `level_variance` that of the line's height at `centre`, and `spread` the weighted sum of squares
    of the sources, which says how well the slope is known.
    """

    slope: float
    intercept: float
    s: float
    df: float
    centre: float
    spread: float
    level_variance: float

    def at(self, source: float) -> float:
        """The line's height."""
        return self.intercept + self.slope * source

    def predict(self, source: float) -> Interval:
        """The target score of one run whose score at the source is `source`."""
        away = (source - self.centre) ** 2 / self.spread
        error = math.sqrt(self.s**2 * (1 + away) + self.level_variance)
        return Interval(self.at(source), _reach(self.df) * error)

    def difference(self, one: float, other: float) -> Interval:
        """Target score of one run less that of another."""
        gap = one - other
        return Interval(self.slope * gap, _reach(self.df) * self._gap_error(gap))

    def chance(self, one: float, other: float) -> float:
        """The chance that the run with source score `one` beats the other at the target.

        Between 0.01 and 0.99, 0.5 for equal scores, and chance(a, b) + chance(b, a) = 1.
        """
        gap = one - other
        error = self._gap_error(gap)
        if gap == 0 or self.slope == 0:
            return 0.5
        if error == 0:
            return 1 - SURE if self.slope * gap > 0 else SURE
        ahead = cdf(abs(self.slope * gap) / error, self.df)
        ahead = min(ahead, 1 - SURE)
        return ahead if self.slope * gap > 0 else 1 - ahead

    def _gap_error(self, gap: float) -> float:
        """Two runs scatter about the line, and its slope is not quite known."""
        return self.s * math.sqrt(2 + gap * gap / self.spread)


def fit_line(pairs: Sequence[Pair]) -> Line | None:
    """Least squares; None for fewer than three pairs, or where all sources are equal."""
    n = len(pairs)
    if n < 3:
        return None
    sums = _Sums.of(pairs)
    if sums.xx < SAME:
        return None
    slope = sums.xy / sums.xx
    intercept = sums.y - slope * sums.x
    rest = math.fsum((pair.target - intercept - slope * pair.source) ** 2 for pair in pairs)
    variance = rest / (n - 2)
    return Line(slope, intercept, math.sqrt(variance), n - 2, sums.x, sums.xx, variance / n)


def fit_blend(
    others: Sequence[Pair],
    own: Sequence[Pair],
    weight: float = OTHER_WEIGHT,
    level_spread: float = LEVEL_SPREAD,
) -> Line | None:
    """One slope for both sets, the height from `own`, drawn towards that of `others` when few.

    `others` are pairs whose target has another recipe, `own` those with the recipe in question; a
    dataset may be in both. None where they are too few for a scatter. With none of its own the
    height is that of the others, as uncertain as two recipes lie apart.
    """
    if not others:
        return fit_line(own)
    m = len(own)
    df = weight * (len(others) - 1) - 1 + max(m - 1, 0)
    theirs, ours = _Sums.of(others), _Sums.of(own) if own else _Sums(0.0, 0.0, 0.0, 0.0)
    spread = weight * theirs.xx + ours.xx
    if df <= 0 or spread < SAME:
        return None
    slope = (weight * theirs.xy + ours.xy) / spread
    height = theirs.y - slope * theirs.x
    rest = weight * math.fsum((p.target - height - slope * p.source) ** 2 for p in others)
    rest += math.fsum((p.target - ours.y - slope * (p.source - ours.x)) ** 2 for p in own)
    variance = rest / df
    prior = level_spread**2
    belief = m * prior / (m * prior + variance) if m else 0.0
    offset = belief * (ours.y - height - slope * ours.x) if m else 0.0
    level = prior * variance / (variance + m * prior) if m else prior
    centre = ours.x if m else theirs.x
    return Line(slope, height + offset, math.sqrt(variance), df, centre, spread, level)


@dataclass(frozen=True)
class _Sums:
    """Means, and sums of squares and products about them."""

    x: float
    y: float
    xx: float
    xy: float

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> _Sums:
        x, y = fmean(p.source for p in pairs), fmean(p.target for p in pairs)
        xx = math.fsum((p.source - x) ** 2 for p in pairs)
        xy = math.fsum((p.source - x) * (p.target - y) for p in pairs)
        return cls(x, y, xx, xy)


def _reach(df: float) -> float:
    return quantile((1 + LEVEL) / 2, df)
