"""Grades searches for leaked questions on a labelled set that is made anew from a seed.

The set holds leaks of every kind (kinds.py), honest text that looks like them, and ordinary
documents. Ours and the published rules of methods.py judge each document.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from evaluation.contamination.code import looks_like_code, programs_in
from evaluation.contamination.evidence import program_severity
from evaluation.contamination.hits import grams_in, running_sums
from evaluation.contamination.index import Index
from evaluation.contamination.kinds import HONEST, LEAKS, Leak, documents, draw_leaks
from evaluation.contamination.methods import NAMES, Methods
from evaluation.contamination.rules import MEDIUM, REVIEW
from evaluation.contamination.verify import findings_of
from evaluation.contamination.words import Words
from evaluation.suite import Suite
from submissions.progress import Progress, no_progress

OURS = "crucible"
BLAMED = "crucible-medium"  # ours, HIGH and MEDIUM alone: what `clean` takes out
ORDINARY = "ordinary"
CARRIER = 6_000  # characters of a document that a leak is planted in, at most
MILLION = 1_000_000
TELL = 100  # documents between two signs of life

Flagged = dict[str, set[int]]  # examples by search


class Judge:
    """Ours and these published rules over one index."""

    def __init__(self, index: Index, methods: Sequence[str]) -> None:
        self.index = index
        self.methods = Methods(index, methods)
        self.names = (OURS, BLAMED, *methods)

    def flagged(self, text: str) -> Flagged:
        """The examples that each search finds in one document."""
        words = Words(text.encode(), self.index.fold)
        sums = running_sums(words.hashes)
        grams = grams_in(sums, self.index.grams)
        found: Flagged = {name: set() for name in self.names}
        if len(grams):
            rows, _ = findings_of(sums, grams, self.index.units)
            for row in rows:
                self._add(found, int(row[0]), int(row[1]))
            found |= self.methods.flagged(text, words)
        if len(self.index.programs.keys) and looks_like_code(text):
            for program in programs_in(text, self.index.programs):
                self._add(found, program.example, program_severity(program))
        return found

    @staticmethod
    def _add(found: Flagged, example: int, severity: int) -> None:
        if severity <= REVIEW:
            found[OURS].add(example)
        if severity <= MEDIUM:
            found[BLAMED].add(example)


def grade(
    index: Index,
    suite: Suite,
    ordinary: Sequence[str],
    *,
    seed: int,
    leaks: int,
    methods: Sequence[str] = NAMES,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """The figures of every search; `ordinary` are documents in which nothing should be found.

    `kinds`: of each kind the number of documents and the share in which the planted example was
    found, by any finding that a person is shown; `honest` and `flags_per_million` count documents
    in which anything was. Precision is over all documents of the set.
    """
    judge = Judge(index, methods)
    carriers = [text for text in ordinary if len(text) < CARRIER] or [""]
    drawn = draw_leaks(index, leaks, seed)
    tallies = {name: _Tally() for name in judge.names}
    category = {task.label: task.category for task in suite.tasks}
    families = [category.get(task["label"], "") for task in index.tasks]
    total = (len(LEAKS) + len(HONEST)) * len(drawn) + len(ordinary)
    for done, (kind, leak, text) in enumerate(_labelled(drawn, carriers, ordinary, seed)):
        if done % TELL == 0:
            progress(done, total, "documents", kind)
        for name, found in judge.flagged(text).items():
            tallies[name].add(kind, leak, families, found)
    progress(total, total, "documents", "graded")
    return {
        "seed": seed,
        "leaks": leaks,
        "index_hash": index.hash,
        "ordinary_documents": len(ordinary),
        **tallies[OURS].figures(),
        "methods": {name: tally.figures() for name, tally in tallies.items()},
    }


def _labelled(
    drawn: Sequence[Leak], carriers: Sequence[str], ordinary: Sequence[str], seed: int
) -> Iterator[tuple[str, Leak | None, str]]:
    """(kind, what leaked, text) of every document of the set."""
    for kind in LEAKS:
        for leak, text in documents(drawn, kind, carriers, seed):
            yield kind, leak, text
    for kind in HONEST:
        for _, text in documents(drawn, kind, carriers, seed):
            yield kind, None, text
    for text in ordinary:
        yield ORDINARY, None, text


class _Tally:
    """What one search did."""

    def __init__(self) -> None:
        self.of_kind: dict[str, Counter[bool]] = defaultdict(Counter)
        self.of_family: dict[str, Counter[bool]] = defaultdict(Counter)
        self.of_honest: dict[str, Counter[bool]] = defaultdict(Counter)
        self.of_plain: Counter[bool] = Counter()

    def add(self, kind: str, leak: Leak | None, families: Sequence[str], found: set[int]) -> None:
        """Counts one document; families by the number of a task."""
        if leak is not None:
            self.of_kind[kind][leak.example in found] += 1
            self.of_family[families[leak.task]][leak.example in found] += 1
        elif kind == ORDINARY:
            self.of_plain[bool(found)] += 1
        else:
            self.of_honest[kind][bool(found)] += 1

    def figures(self) -> dict[str, Any]:
        """The shares of the documents that were found, or wrongly flagged."""
        leaks = sum(self.of_kind.values(), Counter[bool]())
        wrong = self.of_plain[True] + sum(count[True] for count in self.of_honest.values())
        flags = leaks[True] + wrong
        return {
            "recall": _share(leaks),
            "precision": round(leaks[True] / flags, 4) if flags else None,
            "flags_per_million": round(MILLION * self.of_plain[True]
                                       / max(self.of_plain.total(), 1), 1),
            "kinds": {kind: {"n": count.total(), "recall": _share(count)}
                      for kind, count in self.of_kind.items()},
            "honest": {kind: {"n": count.total(), "flagged": _share(count)}
                       for kind, count in self.of_honest.items()},
            "families": {name: {"n": count.total(), "recall": _share(count)}
                         for name, count in sorted(self.of_family.items())},
        }  # fmt: skip


def _share(counts: Counter[bool]) -> float:
    return round(counts[True] / max(counts.total(), 1), 4)
