"""Two scores of a board at a larger scale: the chance that the first is the better one there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crucible.boards.predictions import SiteCalibration, site_calibration, target_of
from crucible.leaderboard.models import Score
from evaluation.transfer.calibration import Comparison
from submissions.failures import Failure
from training_recipes.scales import load_scale


@dataclass(frozen=True)
class Outlook:
    """Either `found` with its basis, or the `refusal` in words.

    `measured` are the scores of both datasets at the target, where there are any: `found` is then
    by a line without them.
    """

    target: str
    basis: SiteCalibration | None = None
    found: Comparison | None = None
    refusal: str = ""
    measured: tuple[float | None, float | None] = (None, None)

    @property
    def some_measured(self) -> bool:
        """Whether at least one was."""
        return self.measured != (None, None)

    @property
    def first_is_better(self) -> bool:
        """Whether the first is named the better one, where one is."""
        return self.found is not None and self.found.probability > 0.5


def outlook_of(one: Score, other: Score) -> Outlook | None:
    """That of two scores with a CORE; None where their scale has no target."""
    scale = one.submission.scale
    target = target_of(scale)
    if not target:
        return None
    try:
        if other.submission.scale != scale:
            raise Failure("not_comparable", "the two are of different scales")
        if one.manifest_sha256 == other.manifest_sha256:
            raise Failure("not_comparable", "both are runs of one dataset")
        for score, letter in ((one, "A"), (other, "B")):
            if score.recipe_sha256 != load_scale(scale).recipe_sha256:
                raise Failure("not_comparable", f"{letter} has another version of the recipe")
        basis = site_calibration(scale, target)
        pairs = [basis.own.get(score.manifest_sha256) for score in (one, other)]
        datasets = frozenset(pair.dataset for pair in pairs if pair)
        line = basis.calibration.without(datasets) if datasets else None
        calibration = replace(basis.calibration, line=line or basis.calibration.line)
        found = calibration.compare(one.core or 0.0, other.core or 0.0, ("A", "B"))
    except Failure as failure:
        started = failure.code == "too_few_pairs"  # its sentence says so itself
        return Outlook(target, refusal=f"{'' if started else 'no prediction: '}{failure.message}")
    here, there = (pair.target if pair else None for pair in pairs)
    return Outlook(target, basis, found, measured=(here, there))
