"""One pass over the raw bytes of JSON lines, compiled: which documents share an n-gram with a task.

Nothing is parsed but what it takes to find each line's last top-level `text`; escapes and UTF-8 are
decoded on the way. A line that is not plainly of that form stops the pass: the caller then reads it
with the JSON library, which says what is wrong with it, or what it means.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation.contamination.compiling import compiled
from evaluation.contamination.folding import ALONE, SEPARATOR, SKIP
from evaluation.contamination.words import (
    AMPERSAND,
    BACKSLASH,
    BASE,
    BASE_LONG,
    BASE_SHORT,
    INVALID,
    KEY_LONG,
    KEY_SHORT,
    LESS_THAN,
    LONG,
    OFFSET,
    PRIME,
    QUOTE,
    SHORT,
    character_at,
    entry_of,
    escape_at,
    finished,
    hashed,
    markup_end,
    utf8_at,
)

ONE, SIX, LAST_SIX = np.uint64(1), np.uint64(6), np.uint64(63)
BUFFERED = 2048  # words whose n-grams are looked up together


class Grams(NamedTuple):
    """The n-grams of an index, for compiled code.

    `long_filter` and `short_filter` (uint64, a power of two each) say which keys may be there;
    `keys` (uint64, a power of two, 0 for empty) is the hash table with open addressing that says
    which are; `numbers` (int32) gives the n-gram's number at the same place.
    """

    long_filter: npt.NDArray[np.uint64]
    short_filter: npt.NDArray[np.uint64]
    keys: npt.NDArray[np.uint64]
    numbers: npt.NDArray[np.int32]


@compiled
def log2(n: int) -> Any:
    """Of a power of two."""
    bits = 0
    while n > 1:
        n >>= 1
        bits += 1
    return bits


@compiled
def place_of(key: Any, keys: Any, shift: Any) -> Any:
    """Where the key is in the table, or the empty place where it would be."""
    mask = len(keys) - 1
    place = np.int64(key >> shift)
    while keys[place] != 0 and keys[place] != key:
        place = (place + 1) & mask
    return place


@compiled
def maybe(filter_: Any, key: Any, shift: Any) -> Any:
    """Whether the key may be one of those that the filter was made of."""
    mask = (ONE << (key & LAST_SIX)) | (ONE << ((key >> SIX) & LAST_SIX))
    return filter_[np.int64(key >> shift)] & mask == mask


@compiled
def _any_gram(sums: Any, count: int, grams: Any) -> Any:
    """Whether an n-gram of the index is among these words, given their running sums.

    Loops of their own, because here many reads of the filters are on the way at the same time:
    that, and not the arithmetic, is what a scan is fast or slow by.
    """
    keys = grams.keys
    key_shift = np.uint64(64 - log2(len(keys)))
    shift = np.uint64(64 - log2(len(grams.short_filter)))
    for k in range(count - SHORT):
        key = (sums[k + SHORT] - sums[k] * BASE_SHORT) * KEY_SHORT
        if maybe(grams.short_filter, key, shift) and keys[place_of(key, keys, key_shift)] != 0:
            return True
    shift = np.uint64(64 - log2(len(grams.long_filter)))
    for k in range(count - LONG):
        key = (sums[k + LONG] - sums[k] * BASE_LONG) * KEY_LONG
        if maybe(grams.long_filter, key, shift) and keys[place_of(key, keys, key_shift)] != 0:
            return True
    return False


@compiled
def _scan_text(  # noqa: C901 - one loop over characters
    buffer: Any, i: int, fold: Any, grams: Any, sums: Any
) -> Any:
    """(behind the closing quote, whether an n-gram was found) of the JSON string from `i` on.

    INVALID instead of the place where the string holds something irregular.
    """
    ascii_, wide, tails = fold.ascii, fold.wide, fold.tails
    total = np.uint64(0)
    sums[0] = total
    count = 1
    h = OFFSET
    over = False
    while True:
        k: Any = np.int64(ascii_[buffer[i]])
        while k > 2:
            h = (h ^ np.uint64(k)) * PRIME
            i += 1
            k = np.int64(ascii_[buffer[i]])
        size = 1
        if k == 2:
            c = np.int64(buffer[i])
            if c >= 0x80:
                code, size = utf8_at(buffer, i)
                if code == INVALID:
                    return INVALID, False
                k = entry_of(wide, code)
            elif c == QUOTE:
                over = True
                k = SEPARATOR
            elif c == BACKSLASH:
                code, size = character_at(buffer, i, True)
                if code == INVALID:
                    return INVALID, False
                if 0xD800 <= code < 0xE000:
                    low = 0
                    if code < 0xDC00 and buffer[i + 6] == BACKSLASH and buffer[i + 7] == 0x75:
                        low = escape_at(buffer, i + 8)
                    if not 0xDC00 <= low < 0xE000:
                        return INVALID, False
                    code, size = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), 12
                if code in (LESS_THAN, AMPERSAND):
                    size = markup_end(buffer, i + size, code == AMPERSAND, True) - i
                    k = SEPARATOR
                else:
                    k = entry_of(wide, code)
            elif c < 0x20:
                return INVALID, False
            else:
                size = markup_end(buffer, i + 1, c == AMPERSAND, True) - i
                k = SEPARATOR
        if k == SKIP:
            i += size
            continue
        if k != SEPARATOR and k & ALONE == 0:
            h = hashed(h, k, tails)
            i += size
            continue
        if h == OFFSET:
            if k != SEPARATOR:
                h = hashed(h, k, tails)  # a character that is a word
                i += size
            elif over:
                return i + 1, _any_gram(sums, count, grams)
            else:
                i += size
                continue
        elif k == SEPARATOR and not over:
            i += size
        # A word is complete; where it ended at a quote or before a word of one character, the
        # same character is looked at once more.
        total = total * BASE + finished(h)
        h = OFFSET
        sums[count] = total
        count += 1
        if count == len(sums):
            if _any_gram(sums, count, grams):
                return string_end(buffer, i), True
            sums[:LONG] = sums[count - LONG : count]
            count = LONG


@compiled
def string_end(buffer: Any, i: int) -> Any:
    """Behind the closing quote of the string that `i` lies in, or INVALID before a line end."""
    while True:
        c = buffer[i]
        if c == QUOTE:
            return i + 1
        if c < 0x20 or (c == BACKSLASH and buffer[i + 1] < 0x20):
            return INVALID
        i += 2 if c == BACKSLASH else 1


@compiled
def _blank(c: int) -> Any:
    return c == 0x20 or c == 0x09 or c == 0x0D


@compiled
def _other_value_end(buffer: Any, i: int) -> Any:  # noqa: C901 - one loop over characters
    """Behind the value at `i`, of whatever kind, or INVALID."""
    depth = 0
    while True:
        c = buffer[i]
        if c == QUOTE:
            i = string_end(buffer, i + 1)
            if i == INVALID:
                return INVALID
            if depth == 0:
                return i
            continue
        if c == 0x5B or c == 0x7B:
            depth += 1
        elif c == 0x5D or c == 0x7D:
            if depth == 0:
                return i
            depth -= 1
            if depth == 0:
                return i + 1
        elif c == 0x2C and depth == 0:
            return i
        elif c == 0x0A:
            return INVALID
        i += 1


@compiled
def _scan_line(  # noqa: C901 - one object, key by key
    buffer: Any, i: int, fold: Any, grams: Any, sums: Any
) -> Any:
    """(place of the line end, whether the text holds an n-gram) of one line that is not blank."""
    found = has_text = False
    while _blank(buffer[i]):
        i += 1
    if buffer[i] != 0x7B:
        return INVALID, False
    i += 1
    while True:
        while _blank(buffer[i]):
            i += 1
        if buffer[i] != QUOTE:
            return INVALID, False
        i += 1
        # "text" with its closing quote; a key with an escape could mean the same and is irregular
        is_text = (buffer[i] == 0x74 and buffer[i + 1] == 0x65 and buffer[i + 2] == 0x78
                   and buffer[i + 3] == 0x74 and buffer[i + 4] == QUOTE)  # fmt: skip
        while buffer[i] != QUOTE:
            if buffer[i] == BACKSLASH or buffer[i] < 0x20:
                return INVALID, False
            i += 1
        i += 1
        while _blank(buffer[i]):
            i += 1
        if buffer[i] != 0x3A:
            return INVALID, False
        i += 1
        while _blank(buffer[i]):
            i += 1
        if is_text:
            if buffer[i] != QUOTE:
                return INVALID, False
            i, found = _scan_text(buffer, i + 1, fold, grams, sums)
            has_text = True
        else:
            i = _other_value_end(buffer, i)
        if i == INVALID:
            return INVALID, False
        while _blank(buffer[i]):
            i += 1
        if buffer[i] == 0x7D:
            break
        if buffer[i] != 0x2C:
            return INVALID, False
        i += 1
    i += 1
    while _blank(buffer[i]):
        i += 1
    if buffer[i] != 0x0A or not has_text:
        return INVALID, False
    return i, found


@compiled
def scan_lines(buffer: Any, end: int, fold: Any, grams: Any, candidates: Any) -> Any:
    """Scans the lines of `buffer[:end]`, which ends with a line end.

    Writes (line from 0, first byte, its line end) of each document with an n-gram into `candidates`
    [any, 3] int64. Returns (lines, documents, candidates, first byte not scanned): less than `end`
    where a line is irregular or `candidates` is full.
    """
    sums = np.empty(BUFFERED, np.uint64)
    i, lines, documents, full = 0, 0, 0, 0
    while i < end and full < len(candidates):
        start = i
        while _blank(buffer[i]):
            i += 1
        if buffer[i] != 0x0A:
            i, found = _scan_line(buffer, i, fold, grams, sums)
            if i == INVALID:
                return lines, documents, full, start
            documents += 1
            if found:
                candidates[full, 0], candidates[full, 1], candidates[full, 2] = lines, start, i
                full += 1
        lines += 1
        i += 1
    return lines, documents, full, i
