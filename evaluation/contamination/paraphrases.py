"""Questions in other words, by word vectors: a hint for people in a sample of the documents.

A sentence is compared with every question of the index by the cosine of mean word vectors, and
with the nearest ones word by word. Vectors are those that WordLlama ships (l2_supercat, 256
dimensions); its files are read, its code is not run. docs/contamination.md has the figures.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.contamination.hits import grams_in, running_sums
from evaluation.contamination.index import Index, read_examples
from evaluation.contamination.verify import findings_of
from evaluation.contamination.words import Words
from submissions.failures import Failure
from submissions.profile.embeddings import word_vectors
from submissions.progress import Progress, no_progress
from submissions.shards import Shard, read_documents

SHORTEST, LONGEST = 8, 60  # words of a question and of a sentence that are compared
THRESHOLD = 0.7  # of `aligned`: see docs/contamination.md
SAMPLE, SHARDS = 2_000, 16  # documents of a dataset, and shards that they are taken from, at most
LONGEST_READ = 20_000  # characters of a document
EVIDENCE = 200  # findings that are kept, the most alike
NEAREST = 5  # questions that a sentence is compared with word by word
RARE = 1e-3  # share of all tokens at which a token counts half
BLOCK = 256  # sentences at once
WORD = re.compile(r"\w+")
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\n+")

Vectors = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]


def suits(text: str) -> bool:
    """Whether a sentence or question is neither too short nor too long to be compared."""
    return SHORTEST <= len(text.split()) <= LONGEST


def sentences_of(text: str) -> list[str]:
    """The sentences of a document that suit."""
    pieces = (" ".join(piece.split()) for piece in SENTENCE.split(text[:LONGEST_READ]))
    return [piece for piece in pieces if suits(piece)]


class Meanings:
    """The questions of an index as vectors; raises `index_invalid` where it has no text."""

    def __init__(self, index: Index) -> None:
        if not index.meta["with_text"]:
            said = "paraphrases need an index with its text: build it without --without-text"
            raise Failure("index_invalid", said)
        every = read_examples(index, range(len(index.units.question)))
        kept = {k: " ".join(one["question"].split()) for k, one in every.items()}
        kept = {k: text for k, text in kept.items() if suits(text)}
        self.index = index
        self.examples, self.questions = list(kept), list(kept.values())
        self.tokenizer, self.table = word_vectors()
        self.directions = self.table / _lengths(self.table)
        self.asked = self.tokens(self.questions)
        counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *self.asked]),
                             minlength=len(self.table))  # fmt: skip
        self.weights = (RARE / (RARE + counts / max(counts.sum(), 1))).astype(np.float32)
        self.means = self.mean(self.asked)
        self.names = [_names(question) for question in self.questions]

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """The numbers of each text's tokens."""
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int64) for one in encoded]

    def mean(self, tokens: Sequence[Tokens]) -> Vectors:
        """[texts, 256] of length 1, rare tokens weighing more; zeros without a token."""
        made = np.zeros((len(tokens), self.table.shape[1]), np.float32)
        for row, numbers in enumerate(tokens):
            made[row] = self.weights[numbers] @ self.table[numbers]
        return made / _lengths(made)

    def nearest(
        self, texts: Sequence[str], hidden: Sequence[int] = ()
    ) -> Iterator[tuple[tuple[float, int], tuple[float, int]]]:
        """Of each text (score, number in `questions`) by the mean and, better, aligned.

        A score is 0 to 1; the questions `hidden` are left out.
        """
        for first in range(0, len(texts) if self.questions else 0, BLOCK):
            block = texts[first : first + BLOCK]
            tokens = self.tokens(block)
            scores = self.mean(tokens) @ self.means.T
            scores[:, hidden] = -1
            count = min(NEAREST, scores.shape[1])
            best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
            for row, near in enumerate(best.tolist()):
                words = set(WORD.findall(block[row].lower()))
                by_mean = max((float(scores[row, k]), k) for k in near)
                aligned = max((self._aligned(tokens[row], words, k), k) for k in near)
                yield by_mean, aligned

    def _aligned(self, tokens: Tokens, words: set[str], question: int) -> float:
        """How well each token of question and text has its like in the other, the worse of both;
        0 where a name or number of the question is missing."""
        asked = self.asked[question]
        if not self.names[question] <= words or not len(tokens) or not len(asked):
            return 0.0
        alike = self.directions[asked] @ self.directions[tokens].T
        there = np.average(alike.max(axis=1), weights=self.weights[asked])
        back = np.average(alike.max(axis=0), weights=self.weights[tokens])
        return float(min(there, back))


def find_paraphrases(
    meanings: Meanings, shards: Sequence[Shard], progress: Progress = no_progress
) -> dict[str, Any]:
    """What a sample of the shards holds in other words: `documents`, `sentences`, `findings`.

    At most SAMPLE documents, the first ones of at most SHARDS shards, which are drawn. What the
    search for words finds is left out. A finding has task, index (the row), shard, line, score,
    question and text; the EVIDENCE most alike are kept, `found` counts all.
    """
    index = meanings.index
    ordered = sorted(shards, key=lambda shard: shard.name)
    draw = random.Random(index.hash)  # noqa: S311 - no secret
    chosen = draw.sample(ordered, min(SHARDS, len(ordered)))
    documents = sentences = 0
    findings: list[dict[str, Any]] = []
    for number, shard in enumerate(chosen):
        progress(number, len(chosen), "shards", "comparing meanings")
        # What earlier shards left of the sample is shared among the rest.
        quota = (SAMPLE - documents) // (len(chosen) - number)
        with tempfile.TemporaryDirectory() as scratch, shard.streamed(Path(scratch)) as opened:
            for document in islice(read_documents(opened), quota):
                documents += 1
                texts = sentences_of(document.text)
                sentences += len(texts)
                for text, (_, best) in zip(texts, meanings.nearest(texts), strict=True):
                    example = meanings.examples[best[1]]
                    if best[0] >= THRESHOLD and example not in _found(text, index):
                        findings += _finding(index, example, meanings.questions[best[1]],
                                             shard.name, document.line, text, best[0])  # fmt: skip
    findings.sort(key=lambda one: (-one["score"], one["shard"], one["line"], one["task"]))
    return {"documents": documents, "sentences": sentences, "found": len(findings),
            "findings": findings[:EVIDENCE]}  # fmt: skip


def _finding(
    index: Index, example: int, question: str, shard: str, line: int, text: str, score: float
) -> list[dict[str, Any]]:
    """One finding for each task that asks the question."""
    first = index.first_owner
    owners = index.owners[first[example] : first[example + 1], 1:].tolist()
    return [
        {"task": index.tasks[task]["label"], "index": row, "shard": shard, "line": line,
         "score": round(score, 3), "question": question, "text": text}
        for task, row in owners
    ]  # fmt: skip


def _found(text: str, index: Index) -> set[int]:
    """The examples that the search for words finds in a sentence."""
    sums = running_sums(Words(text.encode("utf-8", "replace"), index.fold).hashes)
    rows, _ = findings_of(sums, grams_in(sums, index.grams), index.units)
    return set(rows[:, 0].tolist())


def _names(question: str) -> set[str]:
    """Words with a digit, and names, which no rewording changes."""
    return {
        word.lower() for k, word in enumerate(WORD.findall(question))
        if any(c.isdigit() for c in word) or (k and word[0].isupper() and len(word) > 2)
    }  # fmt: skip


def _lengths(vectors: Vectors) -> Vectors:
    return np.asarray(np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9), np.float32)
