"""Which n-grams of the examples and passages an index keeps, and the table to find them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.contamination.compiling import compiled
from evaluation.contamination.hits import power
from evaluation.contamination.scanner import Grams, place_of
from evaluation.contamination.words import BASE, KEY_LONG, KEY_SHORT, SHORT

# An n-gram of more units than this is a template, or something that everybody says.
MOST_UNITS = 20
FEWEST_LETTERED = 3  # distinct words with letters in an n-gram: rows of numbers look alike
BITS_A_KEY = 16  # of the filters, at least: with two bits a key about 1 in 100 passes by chance


@compiled
def _enumerate(words: Any, lettered: Any, first: Any, n: Any, step: Any, keys: Any, unit: Any,
               word: Any) -> int:  # fmt: skip
    """Writes key, unit and word of every n-gram with enough letters; how many there are."""
    count = 0
    for u in range(len(n)):
        size = np.int64(n[u])
        start, length = first[u], first[u + 1] - first[u]
        factor = power(size)
        multiplier = KEY_SHORT if size == SHORT else KEY_LONG
        total = np.uint64(0)
        for k in range(length):
            total = total * BASE + words[start + k]
            if k >= size:
                total -= words[start + k - size] * factor
            at = k - size + 1
            # The last one always, so that the end of a passage counts.
            if at < 0 or (at % step[u] and k != length - 1):
                continue
            distinct = 0
            for a in range(start + at, start + k + 1):
                new = lettered[a]
                for b in range(start + at, a):
                    new = new and words[b] != words[a]
                distinct += new
            if distinct >= FEWEST_LETTERED:
                keys[count], unit[count], word[count] = total * multiplier, u, at
                count += 1
    return count


@dataclass
class CommonGrams:
    """The n-grams that are kept, one entry each time one stands in a unit; one key's together.

    `covered` (uint8) tells of each word of all units whether one of them covers it.
    """

    keys: npt.NDArray[np.uint64]
    unit: npt.NDArray[np.int32]
    word: npt.NDArray[np.int32]
    covered: npt.NDArray[np.uint8]

    def drop(self, units: npt.NDArray[np.int64], first: npt.NDArray[np.int64]) -> None:
        """Takes out everything of these units."""
        stays = ~np.isin(self.unit, units)
        self.keys, self.unit, self.word = self.keys[stays], self.unit[stays], self.word[stays]
        for unit in units:
            self.covered[first[unit] : first[unit + 1]] = 0

    def put_in_reading_order(self) -> None:
        """N-grams that follow one another in a text come to lie side by side in memory.

        A document that holds the text then reads them from few places.
        """
        new = _starts(self.keys)
        leaders = np.lexsort((self.word[new], self.unit[new]))
        rank = np.empty(len(leaders), np.int64)
        rank[leaders] = np.arange(len(leaders))
        order = np.argsort(rank[np.cumsum(new) - 1], kind="stable")
        self.keys, self.unit, self.word = self.keys[order], self.unit[order], self.word[order]


def _starts(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Whether each entry is the first of its key."""
    starts: npt.NDArray[np.bool_] = np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)]
    return starts


def keep_grams(words: Any, lettered: Any, first: Any, n: Any, step: Any) -> CommonGrams:
    """The n-grams that are kept: not those with few letters, nor those of too many units.

    Unit u has the words from `first[u]`, and an n-gram of `n[u]` words every `step[u]` words.
    """
    room = len(words)
    keys = np.empty(room, np.uint64)
    unit, word = np.empty(room, np.int32), np.empty(room, np.int32)
    count = _enumerate(words, lettered, first, n, step, keys, unit, word)
    order = np.lexsort((word[:count], unit[:count], keys[:count]))
    keys, unit, word = keys[order], unit[order], word[order]
    new_key = _starts(keys)
    new_unit = new_key | np.concatenate([[True], unit[1:] != unit[:-1]])[:count]
    group = np.cumsum(new_key) - 1
    units = np.bincount(group, weights=new_unit) if count else np.empty(0)
    stays = units[group] <= MOST_UNITS
    keys, unit, word = keys[stays], unit[stays], word[stays]
    covered = np.zeros(room, np.uint8)
    for offset in range(int(n.max(initial=0))):
        inside = offset < n[unit]
        covered[first[unit[inside]] + word[inside] + offset] = 1
    return CommonGrams(keys, unit, word, covered)


@dataclass(frozen=True)
class Table:
    """The hash table over the keys, and where the entries of each n-gram begin."""

    grams: Grams
    first: npt.NDArray[np.int64]


@compiled
def _fill(unique: Any, keys: Any, numbers: Any, shift: Any) -> None:
    for k in range(len(unique)):
        place = place_of(unique[k], keys, shift)
        keys[place], numbers[place] = unique[k], k


def gram_table(kept: CommonGrams, words: npt.NDArray[np.uint64], first: Any) -> Table:
    """The table of the n-grams that are kept; unit u has the words from `first[u]` on."""
    kept.put_in_reading_order()
    new = _starts(kept.keys)
    starts = np.append(np.flatnonzero(new), len(kept.keys))
    unique = kept.keys[new]
    room = 1 << max(4, (2 * len(unique) - 1).bit_length())
    keys, numbers = np.zeros(room, np.uint64), np.zeros(room, np.int32)
    _fill(unique, keys, numbers, np.uint64(64 - room.bit_length() + 1))
    places = first[kept.unit[new]] + kept.word[new]
    beginnings = np.zeros(len(unique), np.uint64)
    for k in range(SHORT):
        beginnings = beginnings * BASE + words[places + k]
    return Table(Grams(_filter(beginnings * KEY_SHORT), keys, numbers), starts)


def _filter(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Two bits set for each key, in the word that its first bits name: see `scanner.maybe`."""
    size = max(4, (BITS_A_KEY * len(keys) // 64).bit_length())  # log2 of the words
    words = np.zeros(1 << size, np.uint64)
    for place in (keys & np.uint64(63), (keys >> np.uint64(6)) & np.uint64(63)):
        np.bitwise_or.at(words, keys >> np.uint64(64 - size), np.uint64(1) << place)
    return words
