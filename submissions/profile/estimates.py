"""Shares and means over drawn texts, each weighed by its copies, with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from submissions.profile.results import Mean, Named, Share

DIGITS = 6
BINS = 20
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """Drawn texts: the copies of each in the dataset, and the share of its distinct texts."""

    copies: Numbers
    part: float

    def share(self, holds: Sequence[bool]) -> Share:
        """The share of documents for whose text it holds."""
        value, error = self.mean_of(np.array(holds, dtype=np.float64))
        return Share(share=value, error=error)

    def shares(self, names: Sequence[str]) -> dict[str, Share]:
        """By name, the largest share first; texts without a name count and are not listed."""
        named = np.array(names, dtype=object)
        found = {name: self.share(named == name) for name in sorted({*names} - {""})}
        return dict(sorted(found.items(), key=lambda item: -item[1].share))

    def largest(self, names: Sequence[str], most: int) -> list[Named]:
        """The names with the largest shares."""
        weight: dict[str, float] = {}
        for name, copies in zip(names, self.copies.tolist(), strict=True):
            if name:
                weight[name] = weight.get(name, 0.0) + copies
        chosen = sorted(weight, key=lambda name: (-weight[name], name))[:most]
        shares = [self.share([name == one for name in names]) for one in chosen]
        return [
            Named(name=name, share=one.share, error=one.error)
            for name, one in zip(chosen, shares, strict=True)
        ]

    def mean_of(self, values: Numbers) -> tuple[float, float]:
        """The mean over documents and its error.

        Of a ratio estimate (Cochran, Sampling Techniques, 6.4), with the correction for a sample
        that is a large part of everything.
        """
        total = float(self.copies.sum())
        if not total:
            return 0.0, 0.0
        mean = float((self.copies * values).sum()) / total
        spread = float((self.copies**2 * (values - mean) ** 2).sum())
        error = math.sqrt(spread * max(0.0, 1 - self.part)) / total
        return round(mean, DIGITS), round(error, DIGITS)

    def mean(self, values: Sequence[float], *, powers: bool = False) -> Mean:
        """Mean, quantiles and histogram; with `powers` its bins are powers of two."""
        numbers = np.array(values, dtype=np.float64)
        mean, error = self.mean_of(numbers)
        low, middle, high = self._quantiles(numbers, (0.05, 0.5, 0.95))
        return Mean(
            mean=mean, error=error, p5=low, median=middle, p95=high,
            histogram=self._histogram(numbers, powers),
        )  # fmt: skip

    def _quantiles(self, values: Numbers, wanted: Sequence[float]) -> list[float]:
        if not len(values):
            return [0.0 for _ in wanted]
        order = np.argsort(values, kind="stable")
        reached = np.cumsum(self.copies[order])
        places = np.searchsorted(reached, np.array(wanted) * reached[-1])
        return [round(float(values[order[min(place, len(order) - 1)]]), DIGITS) for place in places]

    def _histogram(self, values: Numbers, powers: bool) -> list[tuple[float, int]]:
        if not len(values):
            return []
        if powers:
            bits = np.frexp(np.maximum(values, 0.5))[1]  # 0 → 0, 1 → 1, 2..3 → 2
            edges = [0.0, *(float(2 ** (bit - 1)) for bit in range(1, int(bits.max()) + 1))]
            places = bits
        else:
            top = float(values.max()) or 1.0
            edges = [round(top * number / BINS, DIGITS) for number in range(BINS)]
            places = np.minimum((values / top * BINS).astype(np.int64), BINS - 1)
        counts = np.bincount(places, weights=self.copies, minlength=len(edges))
        return [(edge, int(count)) for edge, count in zip(edges, counts.tolist(), strict=True)]
