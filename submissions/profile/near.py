"""Near copies among texts, by their MinHash signatures: candidates share a band, then are compared.

Time and memory grow with the number of texts alone: in a crowded band each text is compared with
the band's first and with the one before it, not with every other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from submissions.near_duplicates import BANDS, PERMUTATIONS, ROWS

ALIKE = 0.8  # estimated similarity of the shingles from which on two texts are near copies
CANDIDATES = 8  # of one band that a text of another dataset is compared with
Signatures = NDArray[np.uint32]


def copies_among(signatures: Signatures) -> NDArray[np.bool_]:
    """Which texts are near copies of an earlier one of their group, shape (n,).

    Groups are of texts that are near copies of each other, directly or through others. Texts
    without a word are no copies.
    """
    leader = np.arange(len(signatures))
    worded = np.flatnonzero(_worded(signatures))
    for band in range(BANDS):
        keys = _keys(signatures[worded], band)
        order = worded[np.argsort(keys, kind="stable")]
        sorted_keys = np.sort(keys, kind="stable")
        starts = np.flatnonzero(np.r_[True, sorted_keys[1:] != sorted_keys[:-1]])
        first = np.repeat(starts, np.diff(np.r_[starts, len(sorted_keys)]))
        places = np.arange(len(order))
        for other in (first, places - 1):
            pairs = np.flatnonzero((other >= first) & (other < places))
            for one, two in _alike(signatures, order[pairs], order[other[pairs]]):
                _join(leader, one, two)
    return np.array([_leader(leader, text) != text for text in range(len(leader))], dtype=bool)


def copies_of(signatures: Signatures, others: Signatures) -> NDArray[np.bool_]:
    """Which of the texts have a near copy among the others, shape (n,)."""
    found = np.zeros(len(signatures), dtype=bool)
    mine, theirs = (
        np.flatnonzero(_worded(signatures)),
        np.flatnonzero(_worded(others)),
    )
    for band in range(BANDS):
        keys = _keys(others[theirs], band)
        order = np.argsort(keys, kind="stable")
        wanted = _keys(signatures[mine], band)
        start = np.searchsorted(keys[order], wanted, "left")
        end = np.searchsorted(keys[order], wanted, "right")
        for candidate in range(CANDIDATES):
            there = np.flatnonzero(start + candidate < end)
            if not len(there):
                break
            other = theirs[order[start[there] + candidate]]
            same = (signatures[mine[there]] == others[other]).mean(axis=1) >= ALIKE
            found[mine[there[same]]] = True
    return found


def _worded(signatures: Signatures) -> NDArray[np.bool_]:
    """Which texts have words: the signature of none is all ones."""
    worded: NDArray[np.bool_] = (signatures != np.iinfo(np.uint32).max).any(axis=1)
    return worded


def _keys(signatures: Signatures, band: int) -> NDArray[np.uint64]:
    """One number for the ROWS numbers of a band; equal bands have equal keys."""
    key = np.zeros(len(signatures), np.uint64)
    for column in range(band * ROWS, (band + 1) * ROWS):
        key = (key ^ signatures[:, column].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(32)
    return key


def _alike(
    signatures: Signatures, ones: NDArray[np.int64], others: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """The pairs that are near copies, compared in slices."""
    for at in range(0, len(ones), 4096):
        one, two = ones[at : at + 4096], others[at : at + 4096]
        same = (signatures[one] == signatures[two]).sum(axis=1) >= ALIKE * PERMUTATIONS
        yield from zip(one[same].tolist(), two[same].tolist(), strict=True)


def _join(leader: NDArray[np.int64], one: int, two: int) -> None:
    first, second = sorted((_leader(leader, one), _leader(leader, two)))
    leader[second] = first


def _leader(leader: NDArray[np.int64], text: int) -> int:
    while leader[text] != text:
        leader[text] = leader[leader[text]]
        text = int(leader[text])
    return text
