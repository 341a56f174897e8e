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
from evaluation.contamination.markup import BACKSLASH, INVALID, QUOTE
from evaluation.contamination.reading import read_text
from evaluation.contamination.words import BASE_LONG, BASE_SHORT, KEY_LONG, KEY_SHORT, LONG, SHORT

ONE, SIX, LAST_SIX = np.uint64(1), np.uint64(6), np.uint64(63)


class Grams(NamedTuple):
    """The n-grams of an index, for compiled code.

    `filter` (uint64, a power of two) says which SHORT words may begin one; `keys` (uint64, a power
    of two, 0 for empty) is the hash table with open addressing that says which do; `numbers`
    (int32) gives the n-gram's number at the same place.
    """

    filter: npt.NDArray[np.uint64]
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
    return filter_[key >> shift] & mask == mask


@compiled
def _number_of(key: Any, grams: Any, shift: Any) -> Any:
    """The number of the n-gram with this key, or -1."""
    place = place_of(key, grams.keys, shift)
    return np.int64(grams.numbers[place]) if grams.keys[place] != 0 else np.int64(-1)


@compiled
def look_up(sums: Any, count: Any, grams: Any, found: Any) -> Any:
    """Writes (number, first word) of every n-gram of the index; returns how many there are.

    `sums[:count]` are the running sums of a document's words, `found` [2 * count, 2] int32. Many
    reads of the filter are on the way at the same time: that, and not the arithmetic, is what this
    is fast or slow by.
    """
    filter_ = grams.filter
    shift = np.uint64(64 - log2(len(filter_)))
    key_shift = np.uint64(64 - log2(len(grams.keys)))
    hits = np.int64(0)
    for k in range(count - SHORT):
        key = (sums[k + SHORT] - sums[k] * BASE_SHORT) * KEY_SHORT
        if not maybe(filter_, key, shift):
            continue
        number = _number_of(key, grams, key_shift)
        if number >= 0:
            found[hits, 0], found[hits, 1] = number, k
            hits += 1
        if k + LONG < count:
            key = (sums[k + LONG] - sums[k] * BASE_LONG) * KEY_LONG
            number = _number_of(key, grams, key_shift)
            if number >= 0:
                found[hits, 0], found[hits, 1] = number, k
                hits += 1
    return hits


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
    buffer: Any, i: int, fold: Any, sums: Any
) -> Any:
    """(place of the line end, running sums of the text's words) of one line that is not blank."""
    count = 0
    while _blank(buffer[i]):
        i += 1
    if buffer[i] != 0x7B:
        return INVALID, 0
    i += 1
    while True:
        while _blank(buffer[i]):
            i += 1
        if buffer[i] != QUOTE:
            return INVALID, 0
        i += 1
        # "text" with its closing quote; a key with an escape could mean the same and is irregular
        is_text = (buffer[i] == 0x74 and buffer[i + 1] == 0x65 and buffer[i + 2] == 0x78
                   and buffer[i + 3] == 0x74 and buffer[i + 4] == QUOTE)  # fmt: skip
        while buffer[i] != QUOTE:
            if buffer[i] == BACKSLASH or buffer[i] < 0x20:
                return INVALID, 0
            i += 1
        i += 1
        while _blank(buffer[i]):
            i += 1
        if buffer[i] != 0x3A:
            return INVALID, 0
        i += 1
        while _blank(buffer[i]):
            i += 1
        if is_text:
            if buffer[i] != QUOTE:
                return INVALID, 0
            i, count = read_text(buffer, i + 1, fold, sums)
        else:
            i = _other_value_end(buffer, i)
        if i == INVALID:
            return INVALID, 0
        while _blank(buffer[i]):
            i += 1
        if buffer[i] == 0x7D:
            break
        if buffer[i] != 0x2C:
            return INVALID, 0
        i += 1
    i += 1
    while _blank(buffer[i]):
        i += 1
    if buffer[i] != 0x0A or count == 0:
        return INVALID, 0
    return i, count


@compiled
def scan_lines(
    buffer: Any, begin: int, end: int, fold: Any, grams: Any, sums: Any, found: Any, candidates: Any
) -> Any:
    """Scans the lines of `buffer[begin:end]`, behind which PADDING bytes can be read.

    Writes of each document with an n-gram its line from 0, first byte, line end, and its [first,
    behind) in `sums` and in `found` into `candidates` [any, 7] int64. There stand the running sums
    of its words ([half of the bytes] uint64) and (number, first word) of its n-grams ([twice as
    many, 2] int32). Returns (lines, documents, candidates, first byte not scanned): less than `end`
    where a line is irregular or `candidates` is full.
    """
    i, lines, documents, full, place, hits = begin, 0, 0, 0, 0, 0
    while i < end and full < len(candidates):
        start = i
        while _blank(buffer[i]):
            i += 1
        if buffer[i] != 0x0A:
            i, count = _scan_line(buffer, i, fold, sums[place:])
            if i == INVALID:
                return lines, documents, full, start
            documents += 1
            new = look_up(sums[place:], count, grams, found[hits:])
            if new:
                row = candidates[full]
                row[0], row[1], row[2] = lines, start, i
                row[3], row[4], row[5], row[6] = place, place + count, hits, hits + new
                place, hits, full = place + count, hits + new, full + 1
        lines += 1
        i += 1
    return lines, documents, full, i
