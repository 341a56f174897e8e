"""What a board's scores say about a larger scale: calibrations with the site's own pairs.

The line itself, its refusals and its sources are in evaluation/transfer. Runs of this site have
the frozen recipe, so a prediction is of a run under that recipe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from django.conf import settings

from crucible.boards.baselines import ShownBaseline
from crucible.boards.rows import Row, means_with
from crucible.leaderboard.models import Score
from crucible.leaderboard.suites import board_suite
from crucible.review.selectors import marks_of
from evaluation.metrics import DEFAULT_METRIC_VERSION, headline
from evaluation.transfer.calibration import Calibration, calibrate
from evaluation.transfer.line import Pair
from evaluation.transfer.runs import RecipeName
from submissions.failures import Failure
from submissions.states import State
from training_recipes.scales import load_scale, scale_names


@dataclass(frozen=True)
class Prediction:
    """CORE at the target with the half-width of its 90 % interval, or the `reason` why not.

    `measured` is what the same dataset scored there, where that is known: the line behind `value`
    was then fitted without it.
    """

    value: float | None = None
    half_width: float | None = None
    measured: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class SiteCalibration:
    """A calibration, and which of its pairs are this site's: by dataset hash."""

    calibration: Calibration
    own: Mapping[str, Pair]

    def prediction(self, source: float, dataset: str, measured: float | None) -> Prediction:
        """Of a dataset by its name in the calibration."""
        found = self.calibration
        try:
            found.check(source, "its score")
        except Failure:
            low, high = found.range
            reason = (
                f"its score is outside the calibrated range {100 * low:.1f} to {100 * high:.1f}"
            )
            return Prediction(measured=measured, reason=reason)
        known = dataset in found.datasets
        line = (found.without(frozenset({dataset})) if known else None) or found.line
        predicted = line.predict(source)
        return Prediction(predicted.value, predicted.half_width, measured)


def target_of(scale: str) -> str:
    """The larger scale that a board of this scale looks to; empty without one."""
    target: str = settings.CRUCIBLE_TARGET_SCALE
    names = scale_names()
    if not target or names.index(scale) >= names.index(target):
        return ""
    both_by_core = all(headline(board_suite(one)) == "CORE" for one in (scale, target))
    return target if both_by_core else ""


def site_calibration(source: str, target: str, recipe: RecipeName = "official") -> SiteCalibration:
    """The calibration between two scales, with the site's own pairs where `recipe` is official.

    Raises what `calibrate` raises.
    """
    own = own_pairs(source, target) if recipe == "official" else {}
    return SiteCalibration(_calibrated(source, target, recipe, tuple(own.values())), own)


def board_calibration(scale: str) -> SiteCalibration | None:
    """That of a board and the site's target; None where there is no target, or too few pairs."""
    target = target_of(scale)
    if not target:
        return None
    try:
        return site_calibration(scale, target)
    except Failure as failure:
        if failure.code != "too_few_pairs":
            raise
        return None


def has_calibration(scale: str) -> bool:
    """Whether `board_calibration` finds one; mostly the published pairs are enough to know."""
    target = target_of(scale)
    if not target:
        return False
    try:
        _calibrated(scale, target, "official", ())
    except Failure:
        return board_calibration(scale) is not None
    return True


@lru_cache(maxsize=64)
def _calibrated(source: str, target: str, recipe: RecipeName, own: tuple[Pair, ...]) -> Calibration:
    return calibrate(source, target, recipe, own=own)


def own_pairs(source: str, target: str) -> dict[str, Pair]:
    """Published datasets with runs at both scales, by dataset hash; runs of one are averaged.

    Only scores of the present recipe and suite count, and none that reviewers withheld.
    """
    if any(headline(board_suite(scale)) != "CORE" for scale in (source, target)):
        return {}
    there = _cores(target)
    here = _cores(source, there) if there else {}
    return {
        dataset: Pair(f"{scores[0][0]} ({dataset[:12]})", _mean(scores), _mean(there[dataset]))
        for dataset, scores in sorted(here.items())
    }


def _cores(
    scale: str, datasets: Collection[str] | None = None
) -> dict[str, list[tuple[str, float]]]:
    """Name and CORE of the published runs at a scale, by dataset hash."""
    suite = board_suite(scale)
    scores = Score.objects.filter(
        submission__state=State.PUBLISHED,
        submission__scale=scale,
        metric_version=DEFAULT_METRIC_VERSION,
        recipe_sha256=load_scale(scale).recipe_sha256,
        suite_sha256=suite.hash,
        core__isnull=False,
    )
    if datasets is not None:
        scores = scores.filter(manifest_sha256__in=datasets)
    rows = list(
        scores.order_by("id").values_list(
            "submission_id", "submission__name", "manifest_sha256", "core"
        )
    )
    marks = marks_of([number for number, *_ in rows]) if rows else {}
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for number, name, dataset, core in rows:
        assert core is not None  # the query leaves those out
        if number not in marks or "core" not in means_with(suite, marks[number].excluded):
            found[dataset].append((name, core))
    return dict(found)


def best_core(scale: str) -> float | None:
    """The highest CORE of a dataset of this site at a scale, the mean of its runs."""
    if headline(board_suite(scale)) != "CORE":
        return None
    return max((_mean(scores) for scores in _cores(scale).values()), default=None)


def _mean(scores: list[tuple[str, float]]) -> float:
    return fmean(core for _, core in scores)


def prediction_of(
    one: Row | ShownBaseline, found: SiteCalibration, metric_version: str
) -> Prediction:
    """What a line of a board shows."""
    if metric_version != DEFAULT_METRIC_VERSION:
        return Prediction(reason=f"lines are fitted under metric version {DEFAULT_METRIC_VERSION}")
    if isinstance(one, ShownBaseline):
        return _of_baseline(one, found)
    pair = found.own.get(one.score.manifest_sha256)
    measured = pair.target if pair else None
    if "core" in one.withheld or one.score.core is None:
        return Prediction(measured=measured, reason="it has no CORE")
    if not one.score.comparable:
        return Prediction(measured=measured, reason="it has another version of recipe or suite")
    return found.prediction(one.score.core, pair.dataset if pair else "", measured)


def _of_baseline(one: ShownBaseline, found: SiteCalibration) -> Prediction:
    pairs = [pair for pair in found.calibration.pairs if pair.dataset == one.name]
    measured = pairs[0].target if pairs else None
    if one.value is None:
        return Prediction(measured=measured, reason="it has no CORE")
    if one.deviations:
        return Prediction(measured=measured, reason="it was trained by another recipe")
    return found.prediction(one.value, one.name, measured)
