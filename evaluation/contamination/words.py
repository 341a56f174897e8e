"""Text to words, compiled: 64-bit hashes of folded words with their places, and n-gram hashes.

`words_of` and the scanner (scanner.py) step through characters by the same functions, so that both
see the same words. A word's hash is FNV-1a over its folded code points with a final mix; the hash
of n words is a polynomial of theirs, taken from running sums in constant time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.contamination.compiling import compiled
from evaluation.contamination.folding import (
    ALONE,
    ALONE_RANGES,
    FOLDED,
    IDEOGRAPH,
    MANY,
    SEPARATOR,
    SKIP,
    Fold,
    fold_table,
)
from evaluation.contamination.markup import (
    INVALID,
    LESS_THAN,
    PLAIN,
    bare_tag_end,
    decoded_at,
    tag_end,
)

OFFSET = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x100000001B3)
MIX = np.uint64(0xFF51AFD7ED558CCD)
BASE = np.uint64(0x9E3779B97F4A7C15)  # of the polynomial; odd
SHIFT = np.uint64(32)
LONG, SHORT = 6, 5
BASE_LONG = np.uint64(pow(int(BASE), LONG, 2**64))
BASE_SHORT = np.uint64(pow(int(BASE), SHORT, 2**64))
# A last multiplication, another for each n, so that an n-gram's key tells its n as well.
KEY_LONG = np.uint64(0xD6E8FEB86659FD93)
KEY_SHORT = np.uint64(0xA0761D6478BD642F)


@compiled
def entry_of(wide: Any, code: int) -> Any:
    """The fold table's entry of any code point."""
    if code < FOLDED:
        return np.int64(wide[code])
    if code < 0x40000:
        return code | ALONE
    return SKIP if 0xE0000 <= code < 0xE1000 else SEPARATOR


@compiled
def hashed(h: Any, entry: int, tails: Any) -> Any:
    """The word hash `h` with the folded characters of an entry added."""
    if entry & MANY:
        place = entry & ~MANY
        for k in range(place + 1, place + 1 + np.int64(tails[place])):
            h = (h ^ np.uint64(tails[k])) * PRIME
        return h
    return (h ^ np.uint64(entry & ~ALONE)) * PRIME


@compiled
def finished(h: Any) -> Any:
    """A word's hash once its last character was added."""
    h = (h ^ (h >> SHIFT)) * MIX
    return h ^ (h >> SHIFT)


@compiled
def _share(code: int) -> Any:
    """How much of an English word a character says that is a word by itself."""
    for first, last, characters in ALONE_RANGES:
        if first <= code <= last:
            return 1 / characters
    return 1 / IDEOGRAPH


@compiled
def _put(at: Any, h: Any, start: Any, last: Any, letter: Any, share: Any, hashes: Any, spans: Any,
         letters: Any, shares: Any) -> None:  # fmt: skip
    hashes[at] = finished(h)
    spans[at, 0], spans[at, 1] = start, last
    letters[at] = letter
    shares[at] = share


@compiled
def _words(  # noqa: C901 - one loop over characters
    buffer: Any, end: int, fold: Any, hashes: Any, spans: Any, letters: Any, shares: Any
) -> Any:
    """How many words stand outside tags, which come first, and inside, which come last, backwards.

    Where a tag begins, reading goes on with the other end of the arrays until it is over.
    """
    i, start, last, searched = 0, 0, 0, 0
    at, other, step, stop = 0, len(hashes) - 1, 1, end
    lettered: Any = False
    h = OFFSET
    while True:
        k, behind, tag = SEPARATOR, i, i
        if i < stop:
            code, behind = decoded_at(buffer, i, PLAIN, fold)
            if code == LESS_THAN and step > 0:
                escaped = buffer[i] != LESS_THAN
                tag, looked = tag_end(buffer, behind, PLAIN, fold, escaped, i < searched)
                searched = max(searched, looked)
            elif code == LESS_THAN:
                behind = bare_tag_end(buffer, behind, PLAIN, fold)
            elif code != INVALID:
                k = entry_of(fold.wide, code)
        if k == SKIP:
            i = behind
            continue
        if (k == SEPARATOR or k & ALONE) and h != OFFSET:
            _put(at, h, start, last, lettered, 1.0, hashes, spans, letters, shares)
            at += step
            h, lettered = OFFSET, False
        if i >= stop:
            if step > 0:
                return at, len(hashes) - 1 - other
            at, other, step, stop = other, at, 1, end
            continue
        if k & ALONE:
            share = _share(k & ~ALONE)
            h = hashed(h, k, fold.tails)
            _put(at, h, i, behind, k > 0x39, share, hashes, spans, letters, shares)
            h = OFFSET
            at += step
        elif k != SEPARATOR:
            if h == OFFSET:
                start = i
            h = hashed(h, k, fold.tails)
            lettered |= k > 0x39
            last = behind
        if tag > behind:
            at, other, step, stop = other, at, -1, tag
        i = behind


def padded(data: bytes) -> npt.NDArray[np.uint8]:
    """The bytes as an array that ends with the line ends which compiled code reads over."""
    return np.frombuffer(data + b"\n\n\n\n", np.uint8)


class Words:
    """The words of a text: `hashes` [n] uint64, `spans` [n, 2] in bytes, `letters` [n] bool.

    `shares` [n] float32 says how many English words each is worth: 1, but for a character that is a
    word by itself. Those inside tags follow all others.
    """

    def __init__(self, data: bytes, fold: Fold | None = None) -> None:
        fold = fold or fold_table()
        room = len(data) // 2 + 3  # a word and what separates it take two bytes at least
        hashes, spans = np.empty(room, np.uint64), np.empty((room, 2), np.int32)
        letters, shares = np.empty(room, np.bool_), np.empty(room, np.float32)
        outside, inside = _words(padded(data), len(data), fold, hashes, spans, letters, shares)
        # Copies, since an index keeps the words of all examples, and most of the room is empty.
        kept = (
            np.concatenate([array[:outside], array[: room - inside - 1 : -1]])
            for array in (hashes, spans, letters, shares)
        )
        self.hashes, self.spans, self.letters, self.shares = kept
