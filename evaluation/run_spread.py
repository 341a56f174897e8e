"""How far two runs of the same data differ, and what that adds to the error of a comparison.

Another seed gives another model. The questions' error (statistics.py) does not know that: all runs
answer the same questions. Runs of a dataset scatter about its mean with one variance a scale, which
the repeats of all datasets measure together. Few repeats measure a variance badly, so the
figure from elsewhere counts as one more, and Student's t allows for the rest. If a scale has no
repeats at all, the spread is another scale's and labelled so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from evaluation.statistics import LEVEL, Estimate
from evaluation.student import cdf, quantile
from evaluation.transfer.published import read_published

PRIOR_DF = 1.0  # the figure from elsewhere counts as one repeat beside a scale's own
MOST_DF = 1e9  # a normal distribution, to all digits
PUBLISHED = "DCLM's published repeats"


@dataclass(frozen=True)
class RunSpread:
    """The standard deviation of one run, from `repeats` runs beyond the first of each dataset.

    `df` are its degrees of freedom. `source` says whose repeats they are; `borrowed` that they are
    not of the scale in question. Of one figure (CORE, say), in its own unit.
    """

    stdev: float
    df: float
    repeats: int
    source: str
    borrowed: bool = False


@dataclass(frozen=True)
class WholeError:
    """The errors of a figure, or of a difference of two: of the questions and of the runs.

    `interval` is 95 %, `p` two-sided against zero, both by Student's t. `runs_share` is the part of
    the variance that is the runs', as `spread` says.
    """

    questions: float
    runs: float
    stderr: float
    interval: tuple[float, float]
    p: float
    runs_share: float
    spread: RunSpread


def spread_of(
    groups: Sequence[Sequence[float]], source: str, elsewhere: RunSpread | None = None
) -> RunSpread | None:
    """The spread at a scale from the scores of its runs, one group a dataset and recipe.

    Groups of one run say nothing. Without any repeat it is that of `elsewhere`, labelled as
    borrowed, or None. With repeats `elsewhere` counts as `PRIOR_DF` more.
    """
    squares = math.fsum(
        (score - fmean(group)) ** 2 for group in groups if len(group) > 1 for score in group
    )
    repeats = sum(len(group) - 1 for group in groups if len(group) > 1)
    if not repeats:
        return None if elsewhere is None else replace(elsewhere, borrowed=True)
    df = float(repeats)
    if elsewhere is not None:
        squares += PRIOR_DF * elsewhere.stdev**2
        df += PRIOR_DF
    return RunSpread(math.sqrt(squares / df), df, repeats, source)


def published_spread() -> RunSpread:
    """Of CORE (v2, a share), from published runs at 1b-1x and 7b-2x that differ in their seed.

    Where the implementation of a layer changed too, runs lay further apart (docs/scores.md).
    """
    groups = [repeats.cores for repeats in read_published().repeats]
    found = spread_of(groups, PUBLISHED)
    assert found is not None
    return found


def difference_with_runs(difference: Estimate, spread: RunSpread) -> WholeError | None:
    """A paired difference of the scores of two runs, as one of their datasets.

    None where the questions' error is not known.
    """
    return _whole(difference, spread, math.sqrt(2) * spread.stdev)


def score_with_runs(score: Estimate, spread: RunSpread) -> WholeError | None:
    """The same of the score of a single run."""
    return _whole(score, spread, spread.stdev)


def p_with_runs(difference: float, questions: float, spread: RunSpread) -> float:
    """Two-sided p-value of a difference of two single runs with this error from the questions."""
    return _p(difference, questions, math.sqrt(2) * spread.stdev, spread.df)


def _whole(estimate: Estimate, spread: RunSpread, runs: float) -> WholeError | None:
    if estimate.stderr is None:
        return None
    total = math.hypot(estimate.stderr, runs)
    share = (runs / total) ** 2 if total else 0.0
    reach = quantile((1 + LEVEL) / 2, _freedom(share, spread.df)) * total
    return WholeError(
        questions=estimate.stderr,
        runs=runs,
        stderr=total,
        interval=(estimate.value - reach, estimate.value + reach),
        p=_p(estimate.value, estimate.stderr, runs, spread.df),
        runs_share=share,
        spread=spread,
    )


def _p(value: float, questions: float, runs: float, df: float) -> float:
    if abs(value) < 1e-12:  # rounding: the same score
        return 1.0
    total = math.hypot(questions, runs)
    if total == 0:
        return 0.0
    return 2 * cdf(-abs(value) / total, _freedom((runs / total) ** 2, df))


def _freedom(share: float, df: float) -> float:
    """Welch's and Satterthwaite's: of the two variances the runs' alone is measured from few."""
    return min(df / share**2, MOST_DF) if share > 0 else MOST_DF
