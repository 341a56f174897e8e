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
from evaluation.contamination.folding import ALONE, FOLDED, MANY, SEPARATOR, SKIP, Fold, fold_table

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

LESS_THAN, AMPERSAND, QUOTE, BACKSLASH = 0x3C, 0x26, 0x22, 0x5C
INVALID = -1  # instead of a code point


@compiled
def utf8_at(buffer: Any, i: int) -> Any:
    """(code point or INVALID, bytes) of the character at `i` that is not ASCII.

    The buffer must go on with an ASCII byte behind the text.
    """
    lead = np.int64(buffer[i])
    if 0xC2 <= lead < 0xE0:
        second = np.int64(buffer[i + 1])
        if second & 0xC0 == 0x80:
            return ((lead & 0x1F) << 6) | (second & 0x3F), 2
    elif 0xE0 <= lead < 0xF0:
        second = np.int64(buffer[i + 1])
        if second & 0xC0 == 0x80:
            third = np.int64(buffer[i + 2])
            code = ((lead & 0x0F) << 12) | ((second & 0x3F) << 6) | (third & 0x3F)
            if third & 0xC0 == 0x80 and code >= 0x800 and not 0xD800 <= code < 0xE000:
                return code, 3
    elif 0xF0 <= lead < 0xF5:
        second = np.int64(buffer[i + 1])
        if second & 0xC0 == 0x80:
            third = np.int64(buffer[i + 2])
            if third & 0xC0 == 0x80:
                fourth = np.int64(buffer[i + 3])
                code = ((lead & 7) << 18) | ((second & 63) << 12) | ((third & 63) << 6)
                code |= fourth & 63
                if fourth & 0xC0 == 0x80 and 0x10000 <= code < 0x110000:
                    return code, 4
    return INVALID, 1


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
def character_at(buffer: Any, i: int, json: bool) -> Any:
    """(code, bytes) of the character at `i`, which is only told from others where it is ASCII.

    In a JSON string (`json`) escapes are read, and its end is INVALID.
    """
    c = np.int64(buffer[i])
    if not json or (c != BACKSLASH and c != QUOTE):
        return c, 1
    if c == QUOTE:
        return INVALID, 1
    c = np.int64(buffer[i + 1])
    if c == 0x75:  # \u
        return escape_at(buffer, i + 2), 6
    if c == 0x6E or c == 0x72 or c == 0x74 or c == 0x62 or c == 0x66:  # \n \r \t \b \f
        return 0x0A, 2
    return (c, 2) if c >= 0x20 else (INVALID, 1)


@compiled
def escape_at(buffer: Any, i: int) -> Any:
    """The number that four hexadecimal digits write, or INVALID."""
    code: Any = 0
    for k in range(i, i + 4):
        c = np.int64(buffer[k])
        if 0x30 <= c <= 0x39:
            code = code * 16 + c - 0x30
        elif 0x41 <= c <= 0x46 or 0x61 <= c <= 0x66:
            code = code * 16 + (c & 0xDF) - 0x37
        else:
            return INVALID
    return code


@compiled
def markup_end(buffer: Any, i: int, entity: bool, json: bool) -> Any:
    """Where a tag or an entity ends whose first character ended at `i`; `i` where there is none.

    A tag is a letter, "/" or "!" after "<", and what follows up to ">" on the same line.
    """
    code, size = character_at(buffer, i, json)
    k = i + size
    if not entity:
        if not (code == 0x2F or code == 0x21 or 0x41 <= (code & ~0x20) <= 0x5A):
            return i
        while code >= 0x20 and code != LESS_THAN:
            code, size = character_at(buffer, k, json)
            k += size
            if code == 0x3E:
                return k
        return i
    for _ in range(10):
        if not (code == 0x23 or 0x30 <= code <= 0x39 or 0x41 <= (code & ~0x20) <= 0x5A):
            return i
        code, size = character_at(buffer, k, json)
        k += size
        if code == 0x3B:
            return k
    return i


@compiled
def _words(  # noqa: C901 - one loop over characters
    buffer: Any, end: int, ascii_: Any, wide: Any, tails: Any, hashes: Any, spans: Any, letters: Any
) -> Any:
    i, count, start, last = 0, 0, 0, 0
    lettered: Any = False
    h = OFFSET
    while i <= end:
        k = np.int64(ascii_[buffer[i]]) if i < end else 0
        if k > 2 and h == OFFSET:
            start = i
        while k > 2:
            h = (h ^ np.uint64(k)) * PRIME
            lettered |= k > 0x39
            i += 1
            last = i
            k = np.int64(ascii_[buffer[i]])  # at the end it is no letter: see `padded`
        size = 1
        if k == 2:
            c = buffer[i]
            if c >= 0x80:
                code, size = utf8_at(buffer, i)
                k = entry_of(wide, code) if code != INVALID else SEPARATOR
            else:
                k = 0
                if c in (LESS_THAN, AMPERSAND):
                    size = markup_end(buffer, i + 1, c == AMPERSAND, False) - i
        if k == SKIP:
            i += size
            continue
        if (k == SEPARATOR or k & ALONE) and h != OFFSET:
            hashes[count] = finished(h)
            spans[count, 0], spans[count, 1] = start, last
            letters[count] = lettered
            count += 1
            h, lettered = OFFSET, False
            continue  # the same character again, with no word open
        if k != SEPARATOR:
            if h == OFFSET:
                start = i
            h = hashed(h, k, tails)
            lettered |= k > 0x39
            last = i + size
            if k & ALONE:
                hashes[count] = finished(h)
                spans[count, 0], spans[count, 1] = start, last
                letters[count] = lettered
                count += 1
                h, lettered = OFFSET, False
        i += size
    return count


def padded(data: bytes) -> npt.NDArray[np.uint8]:
    """The bytes as an array that ends with the line ends which compiled code reads over."""
    return np.frombuffer(data + b"\n\n\n\n", np.uint8)


class Words:
    """The words of a text: `hashes` [n] uint64, `spans` [n, 2] in bytes, `letters` [n] bool."""

    def __init__(self, data: bytes, fold: Fold | None = None) -> None:
        fold = fold or fold_table()
        room = len(data) // 2 + 2  # a word and what separates it take two bytes at least
        hashes, spans = np.empty(room, np.uint64), np.empty((room, 2), np.int32)
        letters = np.empty(room, np.bool_)
        n = _words(padded(data), len(data), *fold, hashes, spans, letters)
        # Copies, since an index keeps the words of all examples, and most of the room is empty.
        kept = (array[:n].copy() for array in (hashes, spans, letters))
        self.hashes, self.spans, self.letters = kept
