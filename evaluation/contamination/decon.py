"""The rule of decon (allenai), as far as its documentation describes it, to compare with.

Five-word runs of question, answer and passage, each weighted by how rare it is among all examples;
the share of that weight which a document holds is the component's score. Question and answer count
0.75 and 0.25; with a passage 0.7, 0.2 and 0.1; question and passage 0.85 and 0.15. The answer must
be near; a passage alone says nothing. From 0.8 an example is contaminated; one of up to 20 tokens
needs 1.0, with a straight line between 20 and 50. Examples of fewer than 20 tokens or 4 different
words are left out. Differs from it: tokens are words here (1.3 tokens each), and every place of a
document is looked at, not every tenth.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.contamination.hits import running_sums, runs_of
from evaluation.contamination.index import Index

RUN, ANSWER_RUN = 5, 3  # words
TOKENS_A_WORD = 1.3
SHORT, LONG = 20, 50  # tokens
FEWEST_WORDS = 4
LEAST, WHOLE = 0.8, 1.0
MISSES = 11  # runs in a row that a cluster may miss
WINDOW = 50  # words around a cluster in which the answer is looked for

Hashes = npt.NDArray[np.uint64]


class Decon:
    """The rule with what it knows of an index, which must hold its text."""

    def __init__(self, index: Index) -> None:
        self.units = index.units
        everything = [np.unique(_runs(self._unit(k), RUN)) for k in range(len(self.units.question))]
        keys, counts = np.unique(np.concatenate(everything), return_counts=True)
        self.keys = keys
        self.rarity = np.log(len(everything) / counts)

    def _unit(self, number: int) -> Hashes:
        first = self.units.first_word
        return self.units.words[first[number] : first[number + 1]]

    def flags(self, example: int, hashes: Hashes) -> bool:
        """Whether a document with these words is contaminated with the example."""
        unit = self._unit(example)
        tokens = len(unit) * TOKENS_A_WORD
        if tokens < SHORT or len(np.unique(unit)) < FEWEST_WORDS:
            return False
        asked = int(self.units.question[example])
        document = _runs(hashes, RUN)
        cluster = self._cluster(document, _runs(unit[:asked], RUN))
        if cluster is None:
            return False
        start, end = cluster
        scores, weights = [self._score(unit[:asked], document[start:end])], [0.75]
        answer, passage = unit[asked:], int(self.units.passage[example])
        if len(answer):
            around = hashes[max(start - WINDOW, 0) : end + RUN + WINDOW]
            n = min(len(answer), ANSWER_RUN)
            own = _runs(answer, n)
            scores.append(float(np.isin(own, _runs(around, n)).mean()))
            weights.append(0.25)
        if passage >= 0:
            text = self._unit(len(self.units.question) + passage)
            scores.append(self._score(text, document))
            weights = [0.7, 0.2, 0.1] if len(answer) else [0.85, 0.15]
        needed = np.interp(tokens, [SHORT, LONG], [WHOLE, LEAST])
        weights = weights if len(weights) > 1 else [1.0]
        return bool(np.dot(scores, weights) >= needed - 1e-9)

    @staticmethod
    def _cluster(document: Hashes, asked: Hashes) -> tuple[int, int] | None:
        """[first, behind) of the stretch with most of the question's runs."""
        places = np.flatnonzero(np.isin(document, asked))
        if not len(places):
            return None
        parts = np.split(places, np.flatnonzero(np.diff(places) > MISSES + 1) + 1)
        best = max(parts, key=len)
        return int(best[0]), int(best[-1]) + 1

    def _score(self, words: Hashes, document: Hashes) -> float:
        own = np.unique(_runs(words, RUN))
        if not len(own):
            return 0.0
        place = np.minimum(np.searchsorted(self.keys, own), len(self.keys) - 1)
        weight = np.where(self.keys[place] == own, self.rarity[place], self.rarity.max())
        total = float(weight.sum())
        return float(weight[np.isin(own, document)].sum()) / total if total else 0.0


def _runs(hashes: Hashes, n: int) -> Hashes:
    return runs_of(running_sums(hashes), n)
