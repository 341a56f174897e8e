"""The k smallest of many hashes: a sample of distinct things that no order of reading changes.

A hash is a whole number below 2**64. The k smallest of a set are a random sample of it, merge by
keeping the k smallest, and tell how many there are: (k - 1) / h with the k-th hash scaled to 0..1,
to a relative error of 1 / sqrt(k - 2) (Beyer et al. 2007, "On Synopses for Distinct-Value
Estimation").
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from submissions.near_duplicates import shingles

Hashes = NDArray[np.uint64]
SPAN = 2.0**64
PIECE = 2**20  # characters of a text that are encoded together
KEY_CHARACTERS = 400  # of a text's start, by which near copies are drawn together


def text_hash(text: str, salt: bytes) -> int:
    """The hash by which texts are compared and drawn.

    Of blake2b, 64 bits: among a million texts any two collide with a chance of 3e-8.
    """
    digest = hashlib.blake2b(digest_size=8, key=salt)
    for start in range(0, len(text), PIECE):
        digest.update(text[start : start + PIECE].encode())
    return int.from_bytes(digest.digest(), "little")


def near_key(text: str, seed: int) -> int:
    """The least hash of the shingles at the text's start: near copies share it, mostly.

    Two texts share it with a probability of the Jaccard similarity of their starts.
    """
    from xxhash import xxh3_64_intdigest as hashed  # the site, which only reads, is without it

    return min((hashed(one, seed) for one in shingles(text[:KEY_CHARACTERS])), default=0)


@dataclass(frozen=True)
class Sketch:
    """Hashes in ascending order, each with its number of copies and its length in characters.

    All three have the shape (n,), n at most k; `full`: there may be more than these.
    """

    hashes: Hashes
    copies: NDArray[np.int64]
    lengths: NDArray[np.int64]
    full: bool

    @property
    def distinct(self) -> tuple[float, float]:
        """How many distinct hashes there are, and the standard error; 0 where all are here."""
        count = len(self.hashes)
        if not self.full or count < 3:
            return float(count), 0.0
        number = (count - 1) / (float(self.hashes[-1]) / SPAN)
        return number, number / math.sqrt(count - 2)


def empty_sketch() -> Sketch:
    """Of nothing."""
    none = np.empty(0, np.int64)
    return Sketch(np.empty(0, np.uint64), none, none, False)


def sketch_of(hashes: Hashes, lengths: NDArray[np.int64], most: int) -> Sketch:
    """The sketch of these hashes in any order; of a repeated one the copies are counted."""
    return _smallest(hashes, np.ones(len(hashes), np.int64), lengths, most, False)


def merged(sketches: Iterable[Sketch], most: int) -> Sketch:
    """The sketch of everything that these are of."""
    total = empty_sketch()
    for sketch in sketches:
        total = _smallest(
            np.concatenate([total.hashes, sketch.hashes]),
            np.concatenate([total.copies, sketch.copies]),
            np.concatenate([total.lengths, sketch.lengths]),
            most,
            total.full or sketch.full,
        )
    return total


def _smallest(
    hashes: Hashes, copies: NDArray[np.int64], lengths: NDArray[np.int64], most: int, full: bool
) -> Sketch:
    found, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    summed = np.bincount(place, weights=copies, minlength=len(found)).astype(np.int64)
    cut = slice(None, most)
    return Sketch(found[cut], summed[cut], lengths[first][cut], full or len(found) > most)
