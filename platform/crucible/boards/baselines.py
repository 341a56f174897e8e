"""Baselines as a board shows them: marked rows of others, in order of score, without a rank."""

from __future__ import annotations

from typing import Any, NamedTuple

from crucible.leaderboard.models import Baseline, figure_of
from crucible.plots import Interval


class ShownBaseline(NamedTuple):
    """A baseline under one metric version; fields of the same name mean what a score's do."""

    id: int
    name: str
    origin: str
    made_at: str
    source: str
    deviations: tuple[str, ...]
    seed: int | None
    value: float | None
    stderr: float | None
    interval: Interval | None
    extended: float | None
    mmlu: float | None
    scores: dict[str, Any]

    def figure(self, name: str) -> Any:
        """A field of a score that baselines may have too; None where they do not."""
        return getattr(self, name) if name in ("extended", "mmlu", "seed") else None

    def of_tasks(self, where: str, name: str) -> float | None:
        """A category's mean or a task's accuracy."""
        found = self.scores.get(where, {}).get(name)
        return found.get("score") if isinstance(found, dict) else found


def baselines_of(scale: str, metric_version: str, label: str) -> list[ShownBaseline]:
    """Those of a scale whose board ranks by CORE, the best first; no other suite has any."""
    if label != "CORE":
        return []
    shown = [_shown(one, metric_version) for one in Baseline.objects.filter(scale=scale)]
    return sorted(shown, key=lambda one: (one.value is None, -(one.value or 0.0), one.id))


def _shown(one: Baseline, metric_version: str) -> ShownBaseline:
    score = one.scores.get(metric_version, {})
    name = figure_of("CORE")
    interval = score.get("intervals", {}).get(name)
    return ShownBaseline(
        one.id, one.name, one.origin, one.made_at.partition("-")[0].replace("_", "-"), one.source,
        tuple(one.deviations), one.seed, score.get(name), score.get(f"{name}_stderr"),
        (interval[0], interval[1]) if interval else None, score.get("extended"),
        score.get("mmlu"), score,
    )  # fmt: skip
