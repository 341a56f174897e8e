"""Which published entries deserve a run at a larger scale, for an organiser's GPU-hours."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crucible.boards.predictions import SiteCalibration, best_core, site_calibration
from crucible.boards.rows import Row, leaderboard_rows
from crucible.budgets.services import price_of
from evaluation.transfer.line import Interval
from evaluation.transfer.promotion import Promotion, next_runs
from submissions.states import Track

MOST = 50  # candidates, the best at the source: below them nothing is worth a run


@dataclass(frozen=True)
class Candidate:
    """An entry with its place among the picks; `promotion` is None where the budget ends before."""

    row: Row
    track: str
    predicted: Interval
    promotion: Promotion | None


@dataclass(frozen=True)
class NextRunsPage:
    """`best` is the highest CORE of this site at the target; `runs` what the hours pay for.

    `left_out` are entries without a prediction, `done` those that have a run at the target.
    """

    found: SiteCalibration
    price: Decimal
    hours: Decimal | None
    runs: int
    best: float | None
    candidates: list[Candidate]
    left_out: int
    done: int


def next_runs_page(source: str, target: str, hours: Decimal | None) -> NextRunsPage:
    """The entries worth a run; without `hours` for one run. Raises what `calibrate` raises."""
    found = site_calibration(source, target)
    price = price_of(target)
    runs = 1 if hours is None else MOST if not price else min(MOST, int(hours // price))
    rows = _best_rows(source)
    open_rows = [row for row in rows if row[1].score.manifest_sha256 not in found.own]
    inside = [row for row in open_rows if _in_range(found, row[1])][:MOST]
    best = best_core(target)
    scores = {str(row.score.submission_id): row.score.core or 0.0 for _, row in inside}
    line = found.calibration.line
    picks = next_runs(line, scores, runs, best) if scores and runs else []
    picked = {pick.name: (place, pick) for place, pick in enumerate(picks)}
    candidates = [
        Candidate(row, track, line.predict(row.score.core or 0.0),
                  picked.get(str(row.score.submission_id), (0, None))[1])
        for track, row in inside
    ]  # fmt: skip
    candidates.sort(key=lambda one: picked.get(str(one.row.score.submission_id), (MOST, None))[0])
    return NextRunsPage(
        found=found,
        price=price,
        hours=hours,
        runs=runs,
        best=best,
        candidates=candidates,
        left_out=len(open_rows) - sum(_in_range(found, row) for _, row in open_rows),
        done=len(rows) - len(open_rows),
    )


def _best_rows(source: str) -> list[tuple[str, Row]]:
    """Ranked entries of every track at the source, the best first; a dataset counts once."""
    rows = [
        (track.value, row)
        for track in Track
        for row in leaderboard_rows(track=track.value, scale=source)
        if row.rank is not None and row.score.core is not None
    ]
    rows.sort(key=lambda pair: (-(pair[1].score.core or 0.0), pair[1].score.submission_id))
    seen: dict[str, tuple[str, Row]] = {}
    for track, row in rows:
        seen.setdefault(row.score.manifest_sha256, (track, row))
    return list(seen.values())


def _in_range(found: SiteCalibration, row: Row) -> bool:
    return found.prediction(row.score.core or 0.0, "", None).value is not None
