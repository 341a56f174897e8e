"""Which submissions to train at a larger scale: what each should add to the best score there.

A run is worth what it raises the best score at the target by, on average over what it may turn out
to be: an entry that is a little worse but less predictable can be worth more than the favourite's
neighbour. Runs are picked one after another, each with those before it counted as made. The
criterion is the expected improvement of Jones, Schonlau and Welch (Journal of Global Optimization
13, 1998), here for several runs at once and with Student's t, by draws from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.transfer.line import Line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS, SEED = 20_000, 20_240_617


@dataclass(frozen=True)
class Promotion:
    """One entry to train at the target, in the order of the picks.

    `expected_best` is the best target score to expect once it and those before it are trained,
    `gain` by how much it raises that: None for the first where no score is known yet.
    `best_chance` is the chance that it will be the best of all.
    """

    name: str
    expected_best: float
    gain: float | None
    best_chance: float


def next_runs(
    line: Line, entries: Mapping[str, float], runs: int, best: float | None = None
) -> list[Promotion]:
    """At most `runs` picks among `entries` (their source scores), the most valuable first.

    `best` is the highest target score already measured. What the line cannot know (the range of
    its calibration) is for the caller to refuse.
    """
    import numpy as np

    names = list(entries)
    drawn = target_draws(line, [entries[name] for name in names])
    leaders = drawn.max(axis=1, initial=-np.inf if best is None else best)
    top = np.full(DRAWS, -np.inf if best is None else best)
    picks: list[Promotion] = []
    left = list(range(len(names)))
    while left and len(picks) < runs:
        values = [float(np.maximum(top, drawn[:, place]).mean()) for place in left]
        place = left.pop(int(np.argmax(values)))
        expected = max(values)
        before = picks[-1].expected_best if picks else best
        top = np.maximum(top, drawn[:, place])
        wins = float((drawn[:, place] >= leaders).mean())
        gain = None if before is None else expected - before
        picks.append(Promotion(names[place], expected, gain, wins))
    return picks


def target_draws(line: Line, sources: list[float]) -> NDArray[np.float64]:
    """Target scores that runs with these source scores may have together: [DRAWS, runs].

    All runs of a draw share one line, as uncertain as the calibration leaves it; each alone is
    distributed as `Line.predict` says.
    """
    import numpy as np

    generator = np.random.default_rng(SEED)
    wide = np.sqrt(line.df / generator.chisquare(line.df, (DRAWS, 1)))  # how far s may be off
    height = np.sqrt(line.level_variance) * generator.standard_normal((DRAWS, 1))
    steeper = line.s / np.sqrt(line.spread) * generator.standard_normal((DRAWS, 1))
    scatter = line.s * generator.standard_normal((DRAWS, len(sources)))
    away = np.array(sources) - line.centre
    middle = np.array([line.at(source) for source in sources])
    drawn: NDArray[np.float64] = middle + wide * (height + steeper * away + scatter)
    return drawn
