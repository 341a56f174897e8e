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
from evaluation.contamination.folding import ALONE, SEPARATOR, SKIP, SPECIAL
from evaluation.contamination.markup import (
    BACKSLASH,
    INVALID,
    JSON,
    LESS_THAN,
    QUOTE,
    bare_tag_end,
    decoded_at,
    raw_at,
    tag_end,
)
from evaluation.contamination.words import (
    BASE,
    BASE_LONG,
    BASE_SHORT,
    KEY_LONG,
    KEY_SHORT,
    LONG,
    OFFSET,
    PRIME,
    SHORT,
    entry_of,
    finished,
    hashed,
)

ONE, TWO, SIX, LAST_SIX = np.uint64(1), np.uint64(2), np.uint64(6), np.uint64(63)
PADDING = 16  # bytes behind what is scanned that are read, whatever they are
# Behind a backslash: no letter. An escaped backslash may begin an escape of the text's own.
SHORT_ESCAPE = np.isin(np.arange(256), list(b'"/bfnrt'))


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
    return filter_[key >> shift] & mask == mask


@compiled
def _look_up(
    sums: Any, count: Any, n: Any, base: Any, multiplier: Any, filter_: Any, grams: Any, found: Any,
    hits: Any,
) -> Any:  # fmt: skip
    """Writes the n-grams of n words behind `hits` others; how many are there then.

    A loop of its own, because here many reads of the filter are on the way at the same time: that,
    and not the arithmetic, is what it is fast or slow by.
    """
    keys, numbers = grams.keys, grams.numbers
    shift = np.uint64(64 - log2(len(filter_)))
    key_shift = np.uint64(64 - log2(len(keys)))
    for k in range(count - n):
        key = (sums[k + n] - sums[k] * base) * multiplier
        if maybe(filter_, key, shift):
            place = place_of(key, keys, key_shift)
            if keys[place] != 0:
                found[hits, 0], found[hits, 1] = numbers[place], k
                hits += 1
    return hits


@compiled
def look_up(sums: Any, count: Any, grams: Any, found: Any) -> Any:
    """Writes (number, first word) of every n-gram of the index; returns how many there are.

    `sums[:count]` are the running sums of a document's words, `found` [2 * count, 2] int32.
    """
    n, hits = np.int64(SHORT), np.int64(0)  # typed: literals would be compiled for by themselves
    hits = _look_up(sums, count, n, BASE_SHORT, KEY_SHORT, grams.short_filter, grams, found, hits)
    n = np.int64(LONG)
    return _look_up(sums, count, n, BASE_LONG, KEY_LONG, grams.long_filter, grams, found, hits)


@compiled
def _read_tag(buffer: Any, i: Any, stop: Any, fold: Any, sums: Any, top: Any) -> Any:
    """Writes the words inside a tag from `top` on, backwards; where the next one belongs."""
    h = OFFSET
    while i < stop:
        code, i = decoded_at(buffer, i, JSON, fold)
        k = SEPARATOR
        if code == LESS_THAN:
            i = bare_tag_end(buffer, i, JSON, fold)
        else:
            k = entry_of(fold.wide, code)
        if k == SKIP:
            continue
        if k != SEPARATOR and k & ALONE == 0:
            h = hashed(h, k, fold.tails)
            continue
        if h != OFFSET:
            sums[top] = h
            top -= 1
            h = OFFSET
        if k != SEPARATOR:
            sums[top] = hashed(OFFSET, k, fold.tails)
            top -= 1
    if h != OFFSET:
        sums[top] = h
        top -= 1
    return top


@compiled
def _read_text(  # noqa: C901 - one loop over characters
    buffer: Any, start: int, fold: Any, sums: Any
) -> Any:
    """(behind the closing quote, running sums of words) of the JSON string from `start` on.

    INVALID instead of the place where the string holds something irregular. Words inside tags
    gather at the end of `sums` until the others are read. Places are unsigned numbers in here, for
    which Numba does not ask at every byte whether they are negative.
    """
    ascii_, wide, tails = fold.ascii, fold.wide, fold.tails
    i, count = np.uint64(start), ONE
    top, searched = len(sums) - 1, 0
    h = OFFSET
    while True:
        entry = ascii_[buffer[i]]
        # Letters and separators without a branch: nobody can predict where a word ends.
        while entry == SEPARATOR or entry > SPECIAL:
            sums[count] = h
            count += np.uint64((entry == SEPARATOR) & (h != OFFSET))
            longer = (h ^ np.uint64(entry)) * PRIME
            h = longer if entry != SEPARATOR else OFFSET
            i += ONE
            entry = ascii_[buffer[i]]
        if entry == SKIP:
            i += ONE
            continue
        c = buffer[i]
        if c == QUOTE:
            break
        if c == BACKSLASH and SHORT_ESCAPE[buffer[i + ONE]]:
            k = SEPARATOR
            i += TWO
        else:
            here = np.int64(i)
            code, behind = decoded_at(buffer, here, JSON, fold)
            if code == INVALID:
                return INVALID, 0
            k = SEPARATOR
            if code == LESS_THAN:
                raw, _ = raw_at(buffer, here, JSON)
                tag, looked = tag_end(buffer, behind, JSON, fold, raw != code, here < searched)
                searched = max(searched, looked)
                if tag > behind:
                    top = _read_tag(buffer, behind, tag, fold, sums, top)
                    behind = tag
            else:
                k = entry_of(wide, code)
            i = np.uint64(behind)
        if k == SKIP:
            continue
        if k != SEPARATOR and k & ALONE == 0:
            h = hashed(h, k, tails)
            continue
        sums[count] = h
        count += np.uint64(h != OFFSET)
        h = OFFSET
        if k != SEPARATOR:
            sums[count] = hashed(OFFSET, k, tails)
            count += ONE
    sums[count] = h
    count += np.uint64(h != OFFSET)
    if top < len(sums) - 1:
        count = _append_tags(sums, count, top)
    total = sums[0] = np.uint64(0)
    for k in range(ONE, count):
        total = total * BASE + finished(sums[k])
        sums[k] = total
    return np.int64(i + ONE), np.int64(count)


@compiled
def _append_tags(sums: Any, count: Any, top: Any) -> Any:
    """Moves what stands backwards behind `top` to follow the first `count`; how many are there."""
    first, last = np.int64(top) + 1, len(sums) - 1
    a, b = first, last
    while a < b:
        sums[a], sums[b] = sums[b], sums[a]
        a, b = a + 1, b - 1
    for k in range(first, last + 1):
        sums[count] = sums[k]
        count += ONE
    return count


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
            i, count = _read_text(buffer, i + 1, fold, sums)
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
