"""What the page of a calibration shows: its line, its pairs, and how often it was right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from crucible.boards.predictions import SiteCalibration, site_calibration
from crucible.plots import Frame, Mark, MarkPlot, frame_around
from evaluation.transfer.calibration import MARGIN, Calibration
from evaluation.transfer.line import Pair
from evaluation.transfer.quality import HeldOut, Quality, judge
from evaluation.transfer.runs import RecipeName, recipe_of

STEPS = 40  # straight parts of the drawn band
SITE, SAME, OTHER = "this site", "DCLM", "DCLM, other recipe"
KINDS = {SITE: "own", SAME: "same", OTHER: "other"}  # classes of the marks


@dataclass(frozen=True)
class PairRow:
    """A pair with whose it is, and its prediction by a line without it where there is one."""

    pair: Pair
    whose: str
    held_out: HeldOut | None


@dataclass(frozen=True)
class CalibrationPage:
    """`other_recipe` is the one that the page may show instead; empty where there is only one."""

    found: SiteCalibration
    recipe: RecipeName
    other_recipe: str
    rows: list[PairRow]
    quality: Quality | None
    largest: float | None
    hits: int
    scatter: MarkPlot
    reliability: MarkPlot | None


@lru_cache(maxsize=32)
def quality_of(calibration: Calibration) -> Quality | None:
    """`judge`, kept: it takes a tenth of a second, and calibrations change seldom."""
    return judge(calibration)


def calibration_page(source: str, target: str, recipe: RecipeName) -> CalibrationPage:
    """The page of two scales and a recipe at the target. Raises what `calibrate` raises."""
    found = site_calibration(source, target, recipe)
    quality = quality_of(found.calibration)
    rows = _rows(found, quality)
    held_out = quality.held_out if quality else ()
    other: RecipeName = "published" if recipe == "official" else "official"
    two = recipe_of(target, "published") != recipe_of(target, "official")
    return CalibrationPage(
        found=found,
        recipe=recipe,
        other_recipe=other if two else "",
        rows=rows,
        quality=quality,
        largest=max((abs(one.error) for one in held_out), default=None),
        hits=sum(one.hit for one in held_out),
        scatter=_scatter(found.calibration, rows),
        reliability=_reliability(quality) if quality else None,
    )


def _rows(found: SiteCalibration, quality: Quality | None) -> list[PairRow]:
    own = {pair.dataset for pair in found.own.values()}
    held_out = {one.pair.dataset: one for one in quality.held_out} if quality else {}
    rows = [
        PairRow(pair, SITE if pair.dataset in own else SAME, held_out.get(pair.dataset))
        for pair in found.calibration.pairs
    ]
    rows += [PairRow(pair, OTHER, None) for pair in found.calibration.others]
    return sorted(rows, key=lambda row: -row.pair.source)


def _scatter(calibration: Calibration, rows: list[PairRow]) -> MarkPlot:
    line, (low, high) = calibration.line, calibration.range
    margin = MARGIN * (high - low)
    low, high = low - margin, high + margin
    steps = [low + (high - low) * step / STEPS for step in range(STEPS + 1)]
    ends = [(x, *line.predict(x).ends) for x in steps]
    band = [(x, bottom) for x, bottom, _ in ends] + [(x, top) for x, _, top in reversed(ends)]
    points = [(row.pair.source, row.pair.target) for row in rows]
    frame = frame_around([*band, *points])
    marks = [
        Mark(
            *frame.at(row.pair.source, row.pair.target),
            KINDS[row.whose],
            f"{row.pair.dataset}: {100 * row.pair.source:.1f}, {100 * row.pair.target:.1f}",
        )
        for row in rows
    ]
    summary = (
        f"CORE at {calibration.target} over CORE at {calibration.source}: {len(rows)} pairs about "
        f"a line that rises by {line.slope:.2f} points a point, with a 90 % band of "
        f"± {100 * line.predict(line.centre).half_width:.1f} in its middle."
    )
    return MarkPlot(frame, marks, frame.path([(x, line.at(x)) for x in (low, high)]),
                    frame.path(band), summary)  # fmt: skip


def _reliability(quality: Quality) -> MarkPlot:
    frame = Frame((0.5, 1.0), (0.0, 1.0), percent=False)
    counts = [count for count in quality.by_chance() if count.chance is not None]
    marks = [
        Mark(*frame.at(count.chance or 0.0, count.right / count.of), "same",
             f"{count.right:g} of {count.of} right at a mean chance of {count.chance:.2f}")
        for count in counts
    ]  # fmt: skip
    summary = "How often the favourite won, over the chance it was given: " + "; ".join(
        f"chance {count.chance:.2f}, won {count.right:g} of {count.of}" for count in counts
    )
    return MarkPlot(frame, marks, frame.path([(0.5, 0.5), (1.0, 1.0)]), "", f"{summary}.")
