"""How far runs of one dataset lie apart on a board: what another seed adds to every error."""

from __future__ import annotations

from collections import defaultdict

from crucible.leaderboard.models import Score, figure_of
from evaluation.metrics import DEFAULT_METRIC_VERSION, headline
from evaluation.run_spread import RunSpread, published_spread, spread_of
from evaluation.suite import Suite
from submissions.states import State


def board_spread(
    track: str, scale: str, suite: Suite, metric_version: str = DEFAULT_METRIC_VERSION
) -> RunSpread | None:
    """The spread of the figure that ranks, from the repeats on this board.

    A repeat is another seed of the same dataset and recipe, whoever ran it. Without any repeat it
    is that of DCLM's published runs, which is of CORE alone; None for other figures.
    """
    label = headline(suite)
    figure = figure_of(label)
    found = Score.objects.filter(
        submission__state=State.PUBLISHED,
        submission__track=track,
        submission__scale=scale,
        metric_version=metric_version,
        suite_sha256=suite.hash,
        label=label,
        **{f"{figure}__isnull": False},
    )
    runs: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for dataset, recipe, seed, value in found.order_by("id").values_list(
        "manifest_sha256", "recipe_sha256", "seed", figure
    ):
        runs[dataset, recipe].setdefault(seed, value)
    elsewhere = published_spread() if label == "CORE" else None
    groups = [list(by_seed.values()) for by_seed in runs.values()]
    return spread_of(groups, "the repeats on this board", elsewhere)
