"""What two profiled datasets share, from their sketches alone.

Below the smaller of both largest hashes a sketch holds every distinct text of its dataset, so that
presence there is exact, and the texts are a random sample of each dataset.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from submissions.failures import Failure
from submissions.profile.estimates import DIGITS
from submissions.profile.kept import Sketches
from submissions.profile.near import copies_of
from submissions.profile.results import Overlap
from submissions.profile.sketches import Hashes

TOP = np.uint64(2**64 - 1)


def overlap_of(mine: Sketches, other: Sketches, name: str) -> Overlap:
    """The overlap from the view of the first; raises `profile_invalid` for other hashes."""
    _require_comparable(mine, other, name)
    limit = common_limit(mine, other)
    ours, theirs = below(mine.hashes, limit), below(other.hashes, limit)
    both = len(np.intersect1d(ours, theirs))
    known = limit == TOP
    exact, exact_error = _share(both, len(ours), known)
    jaccard, jaccard_error = _share(both, len(ours) + len(theirs) - both, known)
    near, near_error = _near(mine, other)
    return Overlap(
        name=name, exact=exact, exact_error=exact_error, near=max(near, exact),
        near_error=near_error, jaccard=jaccard, jaccard_error=jaccard_error,
        runs=_share(int(np.isin(mine.grams, other.grams).sum()), len(mine.grams), True)[0],
    )  # fmt: skip


def only_in_first(mine: Sketches, other: Sketches, name: str) -> Hashes:
    """Hashes of texts of the first that the other surely does not hold; see `overlap_of`."""
    _require_comparable(mine, other, name)
    ours = below(mine.hashes, common_limit(mine, other))
    found: Hashes = np.setdiff1d(ours, other.hashes)
    return found


def common_limit(mine: Sketches, other: Sketches) -> np.uint64:
    """The largest hash up to which both sketches hold everything."""
    limits = [one.hashes[-1] for one in (mine, other) if one.full and len(one.hashes)]
    return np.uint64(min(limits, default=TOP))


def below(hashes: Hashes, limit: np.uint64) -> Hashes:
    """Those up to the limit."""
    return hashes[hashes <= limit]


def _near(mine: Sketches, other: Sketches) -> tuple[float, float]:
    """The share of texts that have a near copy in the other, from those drawn by their starts."""
    limits = [one.near_keys[-1] for one in (mine, other) if one.near_full and len(one.near_keys)]
    limit = min(limits, default=TOP)
    ours, theirs = (
        one.signatures[one.near_keys <= limit][: len(one.near_keys)] for one in (mine, other)
    )
    keys = mine.near_keys[mine.near_keys <= limit]
    exact: NDArray[np.bool_] = np.isin(mine.near_hashes[mine.near_keys <= limit], other.near_hashes)
    found = exact | copies_of(ours, theirs)
    return ratio_by_group(found.astype(np.float64), keys, known=limit == TOP)


def ratio_by_group(
    values: NDArray[np.float64], groups: Hashes, *, known: bool
) -> tuple[float, float]:
    """The mean of the values and its error, where whole groups were drawn (Cochran, 9A.2)."""
    if not len(values):
        return 0.0, 0.0
    mean = float(values.mean())
    _, place = np.unique(groups, return_inverse=True)
    sums = np.bincount(place, weights=values - mean)
    error = 0.0 if known else math.sqrt(float((sums**2).sum())) / len(values)
    return round(mean, DIGITS), round(error, DIGITS)


def _share(part: int, of: int, known: bool) -> tuple[float, float]:
    share = part / of if of else 0.0
    error = 0.0 if known or not of else math.sqrt(share * (1 - share) / of)
    return round(share, DIGITS), round(error, DIGITS)


def _require_comparable(mine: Sketches, other: Sketches, name: str) -> None:
    if mine.salt != other.salt:
        said = f"{name} was profiled by another release, with other hashes: profile it again"
        raise Failure("profile_invalid", said)
