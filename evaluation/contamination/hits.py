"""What a document shares with the examples and passages of an index: n-grams and where they stand.

The arrays of an index that compiled code reads are described here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation.contamination.compiling import compiled
from evaluation.contamination.scanner import Grams, look_up
from evaluation.contamination.words import BASE


class Units(NamedTuple):
    """The examples and passages of an index, for compiled code; see index.py.

    Unit u is an example for u < E = len(question) and else the passage u - E. Postings: n-gram g
    stands in unit `posting_unit[p]` at word `posting_word[p]`, `first_posting[g]` <= p <
    `first_posting[g + 1]`. Words of unit u: from `first_word[u]`; `covered` (uint8) tells which of
    them any n-gram of the index covers, `words` (uint64; empty in an index to hand out) their
    hashes. Of an example: words of the question, of the answer that follows it, of all choices,
    `alone` (rules.py), its passage's number or -1; `pace` (float64) how many English words each of
    its words is worth (folding.py), `content` [E, 2] (float32) how much question, and question with
    answer, say (content.py). Answers: `answer_key` the polynomial hash,
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
    pace: npt.NDArray[np.float64]
    content: npt.NDArray[np.float32]
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


def runs_of(sums: npt.NDArray[np.uint64], n: int) -> npt.NDArray[np.uint64]:
    """The polynomial hash of every n words in a row, given the running sums."""
    return sums[n:] - sums[:-n] * power(n) if len(sums) > n else sums[:0]


@compiled
def hits_of(found: Any, units: Any) -> Any:
    """[hits, 4] int64 (unit, its word, the document's word, places of the n-gram in all units),
    those of each unit in order.

    `found` [any, 2]: number and the document's word of each n-gram, as `look_up` writes them.
    """
    first, unit, word = units.first_posting, units.posting_unit, units.posting_word
    total = 0
    for k in range(len(found)):
        total += first[found[k, 0] + 1] - first[found[k, 0]]
    hits = np.empty((total, 4), np.int64)
    place = 0
    for k in range(len(found)):
        for p in range(first[found[k, 0]], first[found[k, 0] + 1]):
            hits[place, 0], hits[place, 1], hits[place, 2] = unit[p], word[p], found[k, 1]
            hits[place, 3] = first[found[k, 0] + 1] - first[found[k, 0]]
            place += 1
    return hits


def grams_in(sums: npt.NDArray[np.uint64], grams: Grams) -> npt.NDArray[np.int32]:
    """[any, 2] (number, first word) of the n-grams in a document, given its running sums."""
    found = np.empty((2 * len(sums), 2), np.int32)
    return found[: look_up(sums, len(sums), grams, found)]


def units_in(found: npt.NDArray[np.int32], units: Units) -> list[int]:
    """Every example of which, or of whose passage, the document shares an n-gram."""
    of = np.unique(hits_of(found, units)[:, 0])
    count = len(units.question)
    examples = set(of[of < count].tolist())
    for number in (of[of >= count] - count).tolist():
        examples |= set(
            units.passage_examples[
                units.first_example[number] : units.first_example[number + 1]
            ].tolist()
        )
    return sorted(examples)
