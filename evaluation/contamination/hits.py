"""What a document shares with the examples and passages of an index: n-grams and where they stand.

The arrays of an index that compiled code reads are described here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation.contamination.compiling import compiled
from evaluation.contamination.scanner import Grams, log2, maybe, place_of
from evaluation.contamination.words import (
    BASE,
    BASE_LONG,
    BASE_SHORT,
    KEY_LONG,
    KEY_SHORT,
    LONG,
    SHORT,
)


class Units(NamedTuple):
    """The examples and passages of an index, for compiled code; see index.py.

    Unit u is an example for u < E = len(question) and else the passage u - E. Postings: n-gram g
    stands in unit `posting_unit[p]` at word `posting_word[p]`, `first_posting[g]` <= p <
    `first_posting[g + 1]`. Words of unit u: from `first_word[u]`; `covered` (uint8) tells which of
    them any n-gram of the index covers, `words` (uint64; empty in an index to hand out) their
    hashes. Of an example: words of the question, of the answer that follows it, of all choices,
    `alone` (rules.py), its passage's number or -1. Answers: `answer_key` the polynomial hash,
    words, `weak`, and where the hashes begin in `answer_hashes`.
    """

    first_posting: npt.NDArray[np.int64]
    posting_unit: npt.NDArray[np.int32]
    posting_word: npt.NDArray[np.int32]
    first_word: npt.NDArray[np.int64]
    covered: npt.NDArray[np.uint8]
    words: npt.NDArray[np.uint64]
    n: npt.NDArray[np.uint8]
    question: npt.NDArray[np.int32]
    answer: npt.NDArray[np.int32]
    choices: npt.NDArray[np.int32]
    alone: npt.NDArray[np.uint8]
    passage: npt.NDArray[np.int32]
    first_answer: npt.NDArray[np.int64]
    answer_key: npt.NDArray[np.uint64]
    answer_words: npt.NDArray[np.int32]
    answer_weak: npt.NDArray[np.uint8]
    answer_place: npt.NDArray[np.int64]
    answer_hashes: npt.NDArray[np.uint64]
    first_example: npt.NDArray[np.int64]  # of each passage, in passage_examples
    passage_examples: npt.NDArray[np.int32]


@compiled
def running_sums(hashes: Any) -> Any:
    """[n + 1]: the polynomial hash of the first k words at k."""
    sums = np.zeros(len(hashes) + 1, np.uint64)
    for k in range(len(hashes)):
        sums[k + 1] = sums[k] * BASE + hashes[k]
    return sums


@compiled
def power(n: int) -> Any:
    """BASE to the n."""
    product = np.uint64(1)
    for _ in range(n):
        product *= BASE
    return product


@compiled
def hits_of(sums: Any, grams: Any, units: Any) -> Any:
    """[hits, 3] int64 (unit, its word, the document's word), those of each unit in order."""
    found = np.empty((2 * len(sums), 2), np.int64)
    count = _lookup(sums, SHORT, BASE_SHORT, KEY_SHORT, grams.short_filter, grams, found, 0)
    count = _lookup(sums, LONG, BASE_LONG, KEY_LONG, grams.long_filter, grams, found, count)
    first, unit, word = units.first_posting, units.posting_unit, units.posting_word
    total = 0
    for k in range(count):
        total += first[found[k, 0] + 1] - first[found[k, 0]]
    hits = np.empty((total, 3), np.int64)
    place = 0
    for k in range(count):
        for p in range(first[found[k, 0]], first[found[k, 0] + 1]):
            hits[place, 0], hits[place, 1], hits[place, 2] = unit[p], word[p], found[k, 1]
            place += 1
    return hits


@compiled
def _lookup(
    sums: Any, n: Any, base: Any, multiplier: Any, filter_: Any, grams: Any, found: Any, count: Any
) -> Any:
    """Writes (number, the document's word) of each n-gram that the index has behind `count` others.

    A plain loop, in which many reads of the filter are on the way at the same time.
    """
    keys, numbers = grams.keys, grams.numbers
    shift = np.uint64(64 - log2(len(filter_)))
    key_shift = np.uint64(64 - log2(len(keys)))
    for k in range(len(sums) - n):
        key = (sums[k + n] - sums[k] * base) * multiplier
        if maybe(filter_, key, shift):
            place = place_of(key, keys, key_shift)
            if keys[place] != 0:
                found[count, 0], found[count, 1] = numbers[place], k
                count += 1
    return count


def units_in(sums: npt.NDArray[np.uint64], grams: Grams, units: Units) -> list[int]:
    """Every example of which, or of whose passage, the document shares an n-gram."""
    found = np.unique(hits_of(sums, grams, units)[:, 0])
    count = len(units.question)
    examples = set(found[found < count].tolist())
    for number in (found[found >= count] - count).tolist():
        examples |= set(
            units.passage_examples[
                units.first_example[number] : units.first_example[number + 1]
            ].tolist()
        )
    return sorted(examples)
