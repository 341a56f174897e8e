"""Published rules by name, to compare with: DCLM's two, Cosmopedia's and decon's.

They look at the documents that share an n-gram with the index, which is every one that they could
flag but for runs of words that are in the index's templates. Tokens are words here, folded as
everywhere. None of them says which finding is grave.

dclm-overlap  A word of an example is contaminated when it lies in a run of ten or more words that
              any document shares; an example is dirty with more than 80 per cent of its words
              contaminated, clean with fewer than 20 (DCLM, appendices D and O, after Llama 2).
dclm-option   A document with the last sentence of a question and any of its choices (DCLM, 4.6).
cosmopedia    A document with ten words in a row of an example, where blocks of more than five
              characters that both share make up more than half of the example (difflib's).
decon         See decon.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.contamination.decon import Decon
from evaluation.contamination.hits import grams_in, running_sums, runs_of, units_in
from evaluation.contamination.index import Index, read_examples
from evaluation.contamination.words import Words
from submissions.failures import Failure

NAMES = ("dclm-overlap", "dclm-option", "cosmopedia", "decon")
RUN = 10  # words or tokens in a row
DIRTY, CLEAN = 0.8, 0.2
BLOCK, RATIO = 5, 0.5  # characters; share of the example
SENTENCE_END = re.compile(r"(?<=[.!?:])\s+")
MOST_COMPARED = 20_000  # characters of a document around an example: difflib takes their product

Hashes = npt.NDArray[np.uint64]
Found = dict[str, dict[int, Any]]  # by method and example


class Methods:
    """Applies the rules to documents of one shard.

    `found`: by method and example, stretches [first, behind) of contaminated words in order, or the
    number of documents. `documents`: how many each method flags. Raises `index_invalid` for an
    index without text.
    """

    def __init__(self, index: Index, names: Sequence[str]) -> None:
        if names and not index.meta["with_text"]:
            raise Failure("index_invalid", "published rules need an index with its text")
        self.index, self.names = index, names
        self.found: Found = {name: {} for name in names}
        self.documents = dict.fromkeys(names, 0)

    @cached_property
    def _texts(self) -> dict[int, dict[str, Any]]:
        return read_examples(self.index, range(len(self.index.units.question)))

    @cached_property
    def _decon(self) -> Decon:
        return Decon(self.index)

    def flagged(self, text: str, words: Words) -> dict[str, set[int]]:
        """The examples that each rule flags in this document, taken alone; nothing is counted."""
        if not self.names:
            return {}
        alone = Methods(self.index, self.names)
        alone.__dict__ |= {"_texts": self._texts, "_decon": self._decon}
        alone.add(text, words)
        flagged = {name: set(found) for name, found in alone.found.items()}
        if "dclm-overlap" in flagged:
            dirty = alone.found["dclm-overlap"].items()
            flagged["dclm-overlap"] = {e for e, v in dirty if _share(self.index, e, v) > DIRTY}
        return flagged

    def add(self, text: str, words: Words) -> None:
        """Looks at one document."""
        sums = running_sums(words.hashes)
        runs = runs_of(sums, RUN)
        flagged = set()
        for example in units_in(grams_in(sums, self.index.grams), self.index.units):
            sample = self._sample(example)
            shared = np.isin(runs_of(running_sums(sample), RUN), runs)
            if shared.any():
                flagged |= self._overlap(example, shared) | self._alike(example, text, words)
            flagged |= self._option(example, sums)
            if "decon" in self.names and self._decon.flags(example, words.hashes):
                flagged |= self._count("decon", example)
        for name in flagged:
            self.documents[name] += 1

    def _sample(self, example: int) -> Hashes:
        """The words of passage, question and answer."""
        units = self.index.units
        numbers = [example]
        if units.passage[example] >= 0:
            numbers.insert(0, len(units.question) + int(units.passage[example]))
        parts = [units.words[units.first_word[n] : units.first_word[n + 1]] for n in numbers]
        return np.concatenate(parts)

    def _overlap(self, example: int, shared: npt.NDArray[np.bool_]) -> set[str]:
        if "dclm-overlap" not in self.names:
            return set()
        starts = np.flatnonzero(shared).tolist()
        of = self.found["dclm-overlap"]
        of[example] = joined([*of.get(example, []), *([k, k + RUN] for k in starts)])
        return {"dclm-overlap"}

    def _option(self, example: int, sums: Hashes) -> set[str]:
        if "dclm-option" not in self.names:
            return set()
        one = self._texts[example]
        sentence = SENTENCE_END.split(one["question"].strip())[-1]
        if not one["choices"] or not _stands(sentence, sums):
            return set()
        found = any(_stands(choice, sums) for choice in one["choices"])
        return self._count("dclm-option", example) if found else set()

    def _alike(self, example: int, text: str, words: Words) -> set[str]:
        if "cosmopedia" not in self.names:
            return set()
        one = self._texts[example]
        sample = "\n".join(
            part for part in (one["passage"], one["question"], one["answers"][0]) if part
        )
        around = _around(sample, text, words)
        blocks = SequenceMatcher(None, sample, around, autojunk=False).get_matching_blocks()
        matched = sum(block.size for block in blocks if block.size > BLOCK)
        return self._count("cosmopedia", example) if matched > RATIO * len(sample) else set()

    def _count(self, name: str, example: int) -> set[str]:
        of = self.found[name]
        of[example] = of.get(example, 0) + 1
        return {name}


def _stands(phrase: str, sums: Hashes) -> bool:
    """Whether these words stand unbroken in the document."""
    hashes = Words(phrase.encode()).hashes
    if not len(hashes):
        return False
    return bool((runs_of(sums, len(hashes)) == running_sums(hashes)[-1]).any())


def _around(sample: str, text: str, words: Words) -> str:
    """The part of the document around the first run that it shares; all of a short one."""
    if len(text) <= MOST_COMPARED:
        return text
    runs = runs_of(running_sums(words.hashes), RUN)
    known = runs_of(running_sums(Words(sample.encode()).hashes), RUN)
    first = int(np.flatnonzero(np.isin(runs, known))[0]) if len(known) else 0
    start = len(text.encode()[: words.spans[first, 0]].decode())
    return text[max(start - MOST_COMPARED // 2, 0) : start + MOST_COMPARED // 2]


def joined(stretches: Iterable[Sequence[int]]) -> list[list[int]]:
    """The same words as stretches that neither touch nor overlap, in order."""
    result: list[list[int]] = []
    for first, behind in sorted(map(tuple, stretches)):
        if result and first <= result[-1][1]:
            result[-1][1] = max(behind, result[-1][1])
        else:
            result.append([first, behind])
    return result


def merged(one: Found, other: Found) -> Found:
    """What two shards gave, together."""
    result = {name: dict(found) for name, found in one.items()}
    for name, found in other.items():
        into = result.setdefault(name, {})
        for example, value in found.items():
            if name == "dclm-overlap":
                into[example] = joined([*into.get(example, []), *value])
            else:
                into[example] = into.get(example, 0) + value
    return result


def by_task(index: Index, found: Found) -> dict[str, dict[str, dict[str, int]]]:
    """By method and label: `flagged` examples; for dclm-overlap `dirty` and `clean` ones."""
    table: dict[str, dict[str, dict[str, int]]] = {}
    for name, examples in found.items():
        shares = {e: _share(index, e, v) for e, v in examples.items() if name == "dclm-overlap"}
        counts: Counter[tuple[str, int]] = Counter()
        for example, task, _ in index.owners.tolist():
            counts["examples", task] += 1
            if name == "dclm-overlap":
                counts["dirty", task] += shares.get(example, 0.0) > DIRTY
                counts["clean", task] += shares.get(example, 0.0) < CLEAN
            else:
                counts["flagged", task] += example in examples
        keys = ("examples", "dirty", "clean") if name == "dclm-overlap" else ("examples", "flagged")
        table[name] = {
            task["label"]: {key: counts[key, number] for key in keys}
            for number, task in enumerate(index.tasks)
        }
    return table


def _share(index: Index, example: int, stretches: Sequence[Sequence[int]]) -> float:
    """The share of the example's words that are contaminated."""
    units = index.units
    total = units.question[example] + units.answer[example]
    if units.passage[example] >= 0:
        passage = len(units.question) + units.passage[example]
        total += units.first_word[passage + 1] - units.first_word[passage]
    return float(sum(behind - first for first, behind in stretches) / max(total, 1))
