"""Predictions for a larger scale, and the cases in which there are none: a line with its refusals.

The built-in pairs are DCLM's published runs. A site's own finished pairs are joined to them: runs
at the recipe in question set the level, DCLM's others say how steep the line is. It refuses what
the line cannot predict: too few datasets, and scores outside those it was fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluation.transfer.line import Interval, Line, Pair, fit_blend, fit_line
from evaluation.transfer.published import read_published
from evaluation.transfer.runs import (
    By,
    Recipe,
    RecipeName,
    Run,
    check_order,
    mean_pairs,
    pairs_between,
    recipe_of,
)
from submissions.failures import Failure
from training_recipes.scales import scale_names

LEAST = 8  # distinct datasets
ENOUGH = 15  # own pairs from which DCLM's, under another recipe or engine, are left out
MARGIN = 0.10  # of the range of calibrated scores, by which a score may lie outside
# The chance from which a pair counts as separated. From 400m-1x to 1b-1x four of the eleven pairs
# with a chance of 0.80 and more came out the other way: docs/transfer.md.
NAMED = 0.80
NAMED_FROM_SMALL = 0.90


@dataclass(frozen=True)
class Comparison:
    """One run against another at the target.

    `difference` is the first's target score less the second's; `separable` whether `probability`
    is far enough from a half to name the better one.
    """

    probability: float
    difference: Interval
    separable: bool


@dataclass(frozen=True)
class Calibration:
    """A fitted line with what it was fitted to.

    `pairs` have the recipe in question at the target; `others` another one (none of them where
    the line is a plain one). A dataset may be in both.
    """

    source: str
    target: str
    recipe: Recipe
    pairs: tuple[Pair, ...]
    others: tuple[Pair, ...]
    line: Line = field(repr=False)

    @property
    def datasets(self) -> list[str]:
        """Distinct names, sorted."""
        return sorted({pair.dataset for pair in (*self.pairs, *self.others)})

    @property
    def named_from(self) -> float:
        """The chance from which the better of two is named."""
        small = (self.source, self.target) == ("400m-1x", "1b-1x")
        return NAMED_FROM_SMALL if small else NAMED

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest source score of the calibration."""
        values = [pair.source for pair in (*self.pairs, *self.others)]
        return min(values), max(values)

    def without(self, datasets: frozenset[str]) -> Line | None:
        """The line without these datasets."""
        return _fit(
            [pair for pair in self.pairs if pair.dataset not in datasets],
            [pair for pair in self.others if pair.dataset not in datasets],
        )

    def check(self, source: float, name: str) -> None:
        """Raises `out_of_range` for a score outside the line's range; `name` is its owner."""
        low, high = self.range
        margin = MARGIN * (high - low)
        if not low - margin <= source <= high + margin:
            raise Failure(
                "out_of_range",
                f"{name} scores {source:.4f} at {self.source}, outside the calibrated range "
                f"{low:.3f}–{high:.3f}",
            )

    def predict(self, source: float, name: str = "the run") -> Interval:
        """The target score with its interval; raises `out_of_range`."""
        self.check(source, name)
        return self.line.predict(source)

    def compare(
        self, one: float, other: float, names: tuple[str, str] = ("the first", "the second")
    ) -> Comparison:
        """The chance that `one` beats `other` at the target; raises `out_of_range`."""
        for score, name in zip((one, other), names, strict=True):
            self.check(score, name)
        chance = self.line.chance(one, other)
        separable = not 1 - self.named_from < chance < self.named_from
        return Comparison(chance, self.line.difference(one, other), separable)

    def places(self, sources: Sequence[float]) -> list[tuple[int, int]]:
        """First and last place at the target that each of several runs may take.

        Below one stand those that `compare` names the better, above it those it names the worse;
        all others may be on either side.
        """
        found = []
        for one in sources:
            chances = [self.line.chance(other, one) for other in sources]
            better = sum(chance >= self.named_from for chance in chances)
            worse = sum(chance <= 1 - self.named_from for chance in chances)
            found.append((better + 1, len(sources) - worse))
        return found


def calibrate(
    source: str,
    target: str,
    recipe: RecipeName = "published",
    *,
    own: Sequence[Pair] = (),
    runs: Sequence[Run] | None = None,
    by: By = "core",
) -> Calibration:
    """The calibration from one scale to a larger one.

    `recipe` says how the target is trained: as most of DCLM's published runs were, or officially.
    `own` are a site's finished pairs under the official recipe; with any of them it is that.
    `runs` replace the built-in ones. Raises `unknown_scale`, `refused` for a target
    that is no larger, `too_few_pairs`.
    """
    check_order(source, target)
    known = read_published().runs if runs is None else runs
    name: RecipeName = "official" if own else recipe
    others, pairs = _sets(known, source, target, name, mean_pairs(own), by)
    distinct = len({pair.dataset for pair in (*pairs, *others)})
    if distinct < LEAST:
        raise _too_few(source, target, distinct)
    line = _fit(pairs, others)
    if line is None:
        raise Failure(
            "too_few_pairs", f"no line from {source} to {target}: its datasets all score the same"
        )
    return Calibration(source, target, recipe_of(target, name), tuple(pairs), tuple(others), line)


def default_source(target: str) -> str:
    """The largest scale from which there is a built-in calibration; raises `too_few_pairs`."""
    names = scale_names()
    check_order(names[0], target)
    runs = read_published().runs
    for source in reversed(names[: names.index(target)]):
        if len(pairs_between(runs, source, target, "published")) >= LEAST:
            return source
    raise Failure(
        "too_few_pairs",
        f"no prediction for {target}: no smaller scale has {LEAST} published pairs",
    )


def _sets(
    runs: Sequence[Run], source: str, target: str, name: RecipeName, own: list[Pair], by: By
) -> tuple[list[Pair], list[Pair]]:
    """The pairs under another recipe, and those under the one in question."""
    if len(own) >= ENOUGH:
        return [], own
    published = pairs_between(runs, source, target, "published", by)
    if name == "published":
        return [], published
    if recipe_of(target, "published") == recipe_of(target, "official"):
        # One recipe, but DCLM's trainer: beside a site's own runs it counts as another recipe.
        return (published, own) if own else ([], published)
    official = pairs_between(runs, source, target, "official", by)
    return published, mean_pairs([*own, *official])


def _fit(pairs: Sequence[Pair], others: Sequence[Pair]) -> Line | None:
    return fit_blend(others, pairs) if others else fit_line(pairs)


def _too_few(source: str, target: str, distinct: int) -> Failure:
    return Failure(
        "too_few_pairs",
        f"no prediction from {source} to {target}: {distinct} calibration pairs, {LEAST} needed",
    )
