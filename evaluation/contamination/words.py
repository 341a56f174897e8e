"""Text to words, compiled: 64-bit hashes of folded words with their places, and n-gram hashes.

`words_of` and the scanner (scanner.py) step through characters by the same functions, so that both
see the same words. A word's hash takes in its folded characters eight bytes at a time; the hash
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
    SPECIAL,
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
PRIME = np.uint64(0x9FB21C651E98DF25)
MIX = np.uint64(0xFF51AFD7ED558CCD)
BASE = np.uint64(0x9E3779B97F4A7C15)  # of the polynomial; odd
SHIFT, NONE, EIGHT = np.uint64(32), np.uint64(0), np.uint64(8)
FULL = np.uint64(64)  # bits of a part
SEVEN_BITS, FOLLOWING = np.uint64(0x7F), np.uint64(0x80)
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
def mixed(h: Any, part: Any) -> Any:
    """The hash `h` of a word's characters so far with the next eight bytes of it."""
    h = (h ^ part) * PRIME
    return h ^ (h >> SHIFT)


@compiled
def _with_byte(h: Any, part: Any, filled: Any, byte: Any) -> Any:
    part |= byte << filled
    filled += EIGHT
    if filled == FULL:
        return mixed(h, part), NONE, NONE
    return h, part, filled


@compiled
def _with_code(h: Any, part: Any, filled: Any, code: Any) -> Any:
    """The same with a folded character: ASCII is one byte, others are three that are no ASCII."""
    code = np.uint64(code)
    if code < FOLLOWING:
        return _with_byte(h, part, filled, code)
    for shift in (np.uint64(14), np.uint64(7), NONE):
        byte = ((code >> shift) & SEVEN_BITS) | FOLLOWING
        h, part, filled = _with_byte(h, part, filled, byte)
    return h, part, filled


@compiled
def hashed(h: Any, part: Any, filled: Any, entry: int, tails: Any) -> Any:
    """The state of a word (its hash, the bytes that are not in it yet and their bits) with the
    folded characters of an entry added. A word begins with (OFFSET, NONE, NONE)."""
    if entry & MANY:
        place = entry & ~MANY
        for k in range(place + 1, place + 1 + np.int64(tails[place])):
            h, part, filled = _with_code(h, part, filled, tails[k])
        return h, part, filled
    return _with_code(h, part, filled, entry & ~ALONE)


@compiled
def begun(h: Any, filled: Any) -> Any:
    """Whether a word has a character."""
    return filled != NONE or h != OFFSET


@compiled
def finished(h: Any, part: Any, filled: Any) -> Any:
    """A word's hash once its last character was added."""
    if filled:
        h = mixed(h, part)
    h *= MIX
    return h ^ (h >> SHIFT)


@compiled
def alone(entry: int, tails: Any) -> Any:
    """The hash of a word of one character."""
    h, part, filled = hashed(OFFSET, NONE, NONE, entry, tails)
    return finished(h, part, filled)


@compiled
def _share(code: int) -> Any:
    """How much of an English word a character says that is a word by itself."""
    for first, last, characters in ALONE_RANGES:
        if first <= code <= last:
            return 1 / characters
    return 1 / IDEOGRAPH


@compiled
def _put(at: Any, word: Any, start: Any, last: Any, letter: Any, share: Any, hashes: Any,
         spans: Any, letters: Any, shares: Any) -> None:  # fmt: skip
    hashes[at] = word
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
    h, part, filled = OFFSET, NONE, NONE
    while True:
        k: Any = SEPARATOR
        behind = tag = i
        plain: Any = np.int64(fold.ascii[buffer[i]])
        if i < stop and plain != SPECIAL:
            k, behind, tag = plain, i + 1, i + 1
        elif i < stop:
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
        if (k == SEPARATOR or k & ALONE) and begun(h, filled):
            word = finished(h, part, filled)
            _put(at, word, start, last, lettered, 1.0, hashes, spans, letters, shares)
            at += step
            h, part, filled, lettered = OFFSET, NONE, NONE, False
        if i >= stop:
            if step > 0:
                return at, len(hashes) - 1 - other
            at, other, step, stop = other, at, 1, end
            continue
        if k & ALONE:
            share = _share(k & ~ALONE)
            word = alone(k, fold.tails)
            _put(at, word, i, behind, k > 0x39, share, hashes, spans, letters, shares)
            at += step
        elif k != SEPARATOR:
            if not begun(h, filled):
                start = i
            h, part, filled = hashed(h, part, filled, k, fold.tails)
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
