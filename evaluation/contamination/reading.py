"""The words of a JSON string, compiled: sixty-four bytes at a time where they are plain ASCII.

Words that end before the next character which asks for a closer look come from masks of those
bytes (vectors.py); all others are read character by character, as `words.Words` reads a text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
from evaluation.contamination.vectors import WIDTH, classes_at, eight_at, trailing_zeros
from evaluation.contamination.words import (
    BASE,
    EIGHT,
    FULL,
    NONE,
    OFFSET,
    alone,
    begun,
    entry_of,
    finished,
    hashed,
    mixed,
)

PADDING = WIDTH + 16  # bytes behind what is scanned that are read, whatever they are
# Behind a backslash: no letter. An escaped backslash may begin an escape of the text's own.
SHORT_ESCAPE = np.isin(np.arange(256), list(b'"/bfnrt'))
ONE, TWO, THREE, ALL = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(2**64 - 1)
LAST = np.uint64(WIDTH - 1)
LOWER = np.uint64(0x2020202020202020)  # makes ASCII letters small, and leaves digits as they are
ASCII = np.uint8(0x80)


@compiled
def _plain(buffer: Any, first: Any, length: Any) -> Any:
    """The hash of a word of ASCII letters and digits."""
    h = OFFSET
    while length > EIGHT:
        h = mixed(h, eight_at(buffer, first) | LOWER)
        first += EIGHT
        length -= EIGHT
    part = (eight_at(buffer, first) | LOWER) & (ALL >> (FULL - EIGHT * length))
    return finished(h, part, FULL)


@compiled
def _quoted(buffer: Any, first: Any, behind: Any, fold: Any) -> Any:
    """The same of one with apostrophes, which are left out; (hash, whether anything is left)."""
    h, part, filled = OFFSET, NONE, NONE
    while first < behind:
        entry = fold.ascii[buffer[first]]
        if entry != SKIP:
            h, part, filled = hashed(h, part, filled, np.int64(entry), fold.tails)
        first += ONE
    return finished(h, part, filled), begun(h, filled)


@compiled
def _escapes(slashes: Any, short: Any, ends: Any, others: Any) -> Any:
    """Masks of the characters that backslashes before them take, and of backslashes in which more
    than that may hide.

    One backslash takes a short escape of JSON, and so do three, which write one of the text's own
    before it. Two are one of the text's own; behind it n, r or t is an escape of the text.
    """
    first = slashes & ~(slashes << ONE)
    second, third, fourth = slashes >> ONE, slashes >> TWO, slashes >> THREE
    one = first & ~second & (short >> ONE)
    two = first & second & ~third & ~(others >> TWO) & (ALL >> TWO)
    three = first & second & third & ~fourth & (short >> THREE)
    escaped = one << ONE | (two & (ends >> TWO)) << TWO | three << THREE
    return escaped, first & ~(one | two | three)


@compiled
def _read_plain(buffer: Any, i: Any, fold: Any, sums: Any, count: Any) -> Any:
    """Writes the words from `i` on that need no closer look; (place behind them, how many now).

    A word begins at the place, or what needs a closer look.
    """
    while True:
        inside, skipped, slashes, short, ends, numbers, quotes, special = classes_at(buffer, i)
        escaped, wrong = _escapes(slashes, short, ends, numbers | skipped)
        inside = (inside | skipped) & ~escaped
        stop = special | wrong | (quotes & ~escaped)
        limit = trailing_zeros(stop)
        while inside:
            first = trailing_zeros(inside)
            behind = first + trailing_zeros(~(inside >> first))
            if behind >= limit:
                break
            inside &= ALL << behind
            if skipped >> first & ~(ALL << (behind - first)):
                word, some = _quoted(buffer, i + first, i + behind, fold)
                sums[count] = word
                count += np.uint64(some)
            else:
                sums[count] = _plain(buffer, i + first, behind - first)
                count += ONE
        began = limit
        if inside:
            began = min(trailing_zeros(inside), limit)
        i += began
        if limit <= LAST or began == NONE:
            return i, count


@compiled
def _read_tag(buffer: Any, i: Any, stop: Any, fold: Any, sums: Any, top: Any) -> Any:
    """Writes the words inside a tag from `top` on, backwards; where the next one belongs."""
    h, part, filled = OFFSET, NONE, NONE
    while i < stop:
        k: Any = np.int64(fold.ascii[buffer[i]])
        if k != SPECIAL:
            i += 1
        else:
            code, i = decoded_at(buffer, i, JSON, fold)
            k = SEPARATOR
            if code == LESS_THAN:
                i = bare_tag_end(buffer, i, JSON, fold)
            else:
                k = entry_of(fold.wide, code)
        if k == SKIP:
            continue
        if k != SEPARATOR and k & ALONE == 0:
            h, part, filled = hashed(h, part, filled, k, fold.tails)
            continue
        if begun(h, filled):
            sums[top] = finished(h, part, filled)
            top -= 1
            h, part, filled = OFFSET, NONE, NONE
        if k != SEPARATOR:
            sums[top] = alone(k, fold.tails)
            top -= 1
    if begun(h, filled):
        sums[top] = finished(h, part, filled)
        top -= 1
    return top


@compiled
def read_text(  # noqa: C901 - one loop over characters
    buffer: Any, start: int, fold: Any, sums: Any
) -> Any:
    """(behind the closing quote, running sums of words) of the JSON string from `start` on.

    INVALID instead of the place where the string holds something irregular. Words inside tags
    gather at the end of `sums` until the others are read. Places are unsigned numbers in here, for
    which Numba does not ask at every byte whether they are negative.
    """
    i, count = _read_plain(buffer, np.uint64(start), fold, sums, ONE)
    top, searched = len(sums) - 1, 0
    h, part, filled = OFFSET, NONE, NONE
    while True:
        c = buffer[i]
        k: Any = np.int64(fold.ascii[c])
        if k != SPECIAL:
            i += ONE
        elif c == QUOTE:
            break
        elif c == BACKSLASH and SHORT_ESCAPE[buffer[i + ONE]]:
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
                k = entry_of(fold.wide, code)
            i = np.uint64(behind)
        if k == SKIP:
            continue
        if k != SEPARATOR and k & ALONE == 0:
            h, part, filled = hashed(h, part, filled, k, fold.tails)
            continue
        if begun(h, filled):
            sums[count] = finished(h, part, filled)
            count += ONE
            h, part, filled = OFFSET, NONE, NONE
        if k != SEPARATOR:
            sums[count] = alone(k, fold.tails)
            count += ONE
        elif buffer[i] < ASCII:
            i, count = _read_plain(buffer, i, fold, sums, count)
    if begun(h, filled):
        sums[count] = finished(h, part, filled)
        count += ONE
    if top < len(sums) - 1:
        count = _append_tags(sums, count, top)
    total = sums[0] = NONE
    for k in range(ONE, count):
        total = total * BASE + sums[k]
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
