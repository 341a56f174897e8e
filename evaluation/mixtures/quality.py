"""The errors of predictions: MAE, MRE and rank correlation, beside the mean and a linear model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from evaluation.mixtures.laws import Floats


@dataclass(frozen=True)
class Quality:
    """MAE in nats, MRE as a share of the loss, Spearman's rank correlation (None: undefined)."""

    mae: float
    mre: float
    spearman: float | None

    def as_dict(self) -> dict[str, float | None]:
        return asdict(self)


def quality(predicted: Floats, observed: Floats) -> Quality:
    """Of predictions [n] that the observed losses [n] took no part in."""
    errors = np.abs(predicted - observed)
    relative = float((errors / observed).mean())
    return Quality(float(errors.mean()), relative, spearman(predicted, observed))


def spearman(one: Floats, other: Floats) -> float | None:
    """The rank correlation, ties at their mean rank; None where one of the two is constant."""
    if len(one) < 2:
        return None
    ranks = _ranks(one) - (len(one) - 1) / 2, _ranks(other) - (len(one) - 1) / 2
    lengths = float(ranks[0] @ ranks[0]) * float(ranks[1] @ ranks[1])
    return float(ranks[0] @ ranks[1]) / lengths**0.5 if lengths > 0 else None


def mean_of(qualities: list[Quality]) -> Quality:
    """The plain mean over targets; of the rank correlation over those that have one."""
    ranks = [q.spearman for q in qualities if q.spearman is not None]
    return Quality(
        float(np.mean([q.mae for q in qualities])),
        float(np.mean([q.mre for q in qualities])),
        float(np.mean(ranks)) if ranks else None,
    )


def linear_prediction(r: Floats, y: Floats, wanted: Floats) -> Floats:
    """Ordinary least squares on the proportions: the baseline that a law must beat."""
    found: Floats = wanted @ np.linalg.lstsq(r, y, rcond=None)[0]
    return found


def _ranks(values: Floats) -> Floats:
    """Ranks from 0, equal values at the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    found: Floats = (ends - (count + 1) / 2)[place]
    return found
