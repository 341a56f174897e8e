"""The errors of a calibration on held-out datasets: each is predicted by a line without it.

Chances are judged over all pairs of datasets, each by a line without both (leave two out), beside
the rule that one goes by today: the order at the source holds, as often as it did for the others.
Pairs share datasets, so intervals come from drawing datasets, not pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean

from evaluation.transfer.calibration import Calibration
from evaluation.transfer.line import SURE, Pair
from evaluation.transfer.runs import family_of

DRAWS, SEED = 2_000, 20_240_617
GAPS = (0.0, 0.01, 0.02, 0.03, math.inf)  # in source score
CHANCES = (0.5, 0.6, 0.75, 0.9, 0.97, 1.01)  # of the favourite


@dataclass(frozen=True)
class HeldOut:
    """A dataset predicted by a line without it."""

    pair: Pair
    predicted: float
    half_width: float
    mean: float  # of the others' targets, which any prediction must beat

    @property
    def error(self) -> float:
        return self.predicted - self.pair.target

    @property
    def hit(self) -> bool:
        """Whether the interval holds the truth."""
        return abs(self.error) <= self.half_width


@dataclass(frozen=True)
class Duel:
    """Two datasets: the chance that the first is better at the target, and what came out.

    `order` is the share of all other pairs whose order held, turned towards the source's favourite;
    `right` whether the order held here: 1, 0, or a half where the source ties.
    """

    one: Pair
    other: Pair
    chance: float
    order: float
    won: bool
    right: float

    @property
    def gap(self) -> float:
        """Between the two at the source, without sign."""
        return abs(self.one.source - self.other.source)

    @property
    def brier(self) -> float:
        return _brier(self.chance, self.won)

    @property
    def order_brier(self) -> float:
        return _brier(self.order, self.won)


@dataclass(frozen=True)
class Count:
    """How many of some pairs were ordered right; `chance` is the favourite's mean chance.

    `chance` and `brier` are None where there are none.
    """

    name: str
    right: float
    of: int
    chance: float | None
    brier: float | None

    @property
    def share(self) -> float | None:
        """Of the pairs, those ordered right."""
        return self.right / self.of if self.of else None


@dataclass(frozen=True)
class Quality:
    """Everything that is measured of a calibration; intervals are 90 % over datasets."""

    held_out: tuple[HeldOut, ...]
    duels: tuple[Duel, ...]
    decision_accuracy: float
    decision_interval: tuple[float, float]
    brier: float
    brier_order: float
    brier_gain_interval: tuple[float, float]
    log_loss: float
    log_loss_order: float

    @property
    def mae(self) -> float:
        """Mean absolute error of the held-out predictions."""
        return fmean(abs(found.error) for found in self.held_out)

    @property
    def mean_mae(self) -> float:
        """The same of predicting the others' mean."""
        return fmean(abs(found.mean - found.pair.target) for found in self.held_out)

    @property
    def half_width(self) -> float:
        """Mean half-width of the held-out intervals."""
        return fmean(found.half_width for found in self.held_out)

    def by_gap(self) -> list[Count]:
        """Pairs by their gap at the source."""
        return _counts(self.duels, GAPS, lambda duel: duel.gap)

    def by_chance(self) -> list[Count]:
        """Pairs by the chance of the favourite: right as often as it says, if calibrated."""
        return _counts(self.duels, CHANCES, lambda duel: max(duel.chance, 1 - duel.chance))

    def by_family(self) -> list[Count]:
        """Pairs within a kind of dataset, and across kinds."""
        found: dict[str, list[Duel]] = {}
        for duel in self.duels:
            kinds = sorted(family_of(pair.dataset) for pair in (duel.one, duel.other))
            found.setdefault(" – ".join(kinds), []).append(duel)
        return [_count(name, duels) for name, duels in sorted(found.items())]

    def named(self, chance: float) -> Count:
        """Pairs whose favourite has at least this chance."""
        sure = [duel for duel in self.duels if max(duel.chance, 1 - duel.chance) >= chance]
        return _count(f"{chance:.2f} and more", sure)


def judge(calibration: Calibration) -> Quality | None:
    """Leave one and two out; None where a line cannot be fitted without two datasets."""
    pairs = calibration.pairs
    if len(pairs) < 4:
        return None
    held_out = [_held_out(calibration, pair) for pair in pairs]
    duels = [_duel(calibration, one, other) for one, other in combinations(pairs, 2)]
    known = [duel for duel in duels if duel is not None]
    kept = [found for found in held_out if found is not None]
    if len(known) < len(duels) or len(kept) < len(held_out):
        return None
    accuracy, gain = _intervals(pairs, known)
    return Quality(
        held_out=tuple(kept),
        duels=tuple(known),
        decision_accuracy=fmean(duel.right for duel in known),
        decision_interval=accuracy,
        brier=fmean(duel.brier for duel in known),
        brier_order=fmean(duel.order_brier for duel in known),
        brier_gain_interval=gain,
        log_loss=fmean(_log_loss(duel.chance, duel.won) for duel in known),
        log_loss_order=fmean(_log_loss(duel.order, duel.won) for duel in known),
    )


def _held_out(calibration: Calibration, pair: Pair) -> HeldOut | None:
    line = calibration.without(frozenset({pair.dataset}))
    if line is None:
        return None
    found = line.predict(pair.source)
    mean = fmean(p.target for p in calibration.pairs if p.dataset != pair.dataset)
    return HeldOut(pair, found.value, found.half_width, mean)


def _duel(calibration: Calibration, one: Pair, other: Pair) -> Duel | None:
    names = frozenset({one.dataset, other.dataset})
    line = calibration.without(names)
    rest = [pair for pair in calibration.pairs if pair.dataset not in names]
    if line is None or len(rest) < 2:
        return None
    held = _clipped(fmean(_right(first, second) for first, second in combinations(rest, 2)))
    gap = one.source - other.source
    order = 0.5 if gap == 0 else held if gap > 0 else 1 - held
    return Duel(
        one,
        other,
        line.chance(one.source, other.source),
        order,
        one.target > other.target,
        _right(one, other),
    )


def _right(one: Pair, other: Pair) -> float:
    """Whether the source orders the two as the target does; a tie at the source is half right."""
    at_source, at_target = one.source - other.source, one.target - other.target
    return 0.5 if at_source == 0 else float(at_source * at_target > 0)


def _brier(chance: float, won: bool) -> float:
    return (chance - won) ** 2


def _log_loss(chance: float, won: bool) -> float:
    return -math.log(chance if won else 1 - chance)


def _clipped(chance: float) -> float:
    """As sure as a line may be, and no surer."""
    return min(max(chance, SURE), 1 - SURE)


def _counts(
    duels: Sequence[Duel], edges: Sequence[float], value: Callable[[Duel], float]
) -> list[Count]:
    found = []
    for low, high in pairwise(edges):
        inside = [duel for duel in duels if low <= value(duel) < high]
        name = f"{low:g} and more" if high in (math.inf, CHANCES[-1]) else f"{low:g}–{high:g}"
        found.append(_count(name, inside))
    return found


def _count(name: str, duels: Sequence[Duel]) -> Count:
    if not duels:
        return Count(name, 0.0, 0, None, None)
    chance = fmean(max(duel.chance, 1 - duel.chance) for duel in duels)
    right = math.fsum(duel.right for duel in duels)
    return Count(name, right, len(duels), chance, fmean(duel.brier for duel in duels))


def _intervals(
    pairs: Sequence[Pair], duels: Sequence[Duel]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of the decision accuracy and of the Brier score less the order's: datasets drawn anew."""
    import numpy as np

    place = {pair.dataset: number for number, pair in enumerate(pairs)}
    n = len(pairs)
    right, gain = np.zeros((n, n)), np.zeros((n, n))
    for duel in duels:
        i, j = place[duel.one.dataset], place[duel.other.dataset]
        right[i, j] = duel.right
        gain[i, j] = duel.brier - duel.order_brier
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    several = (drawn > 0).sum(axis=1) > 1  # a draw of one dataset alone has no pairs
    drawn = drawn[several].astype(np.float64)
    weights = (drawn.sum(axis=1) ** 2 - (drawn**2).sum(axis=1)) / 2
    found = []
    for values in (right, gain):
        means = np.einsum("di,ij,dj->d", drawn, values, drawn) / weights
        low, high = np.quantile(means, [0.05, 0.95])
        found.append((float(low), float(high)))
    return found[0], found[1]
