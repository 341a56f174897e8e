"""Whether static embeddings find reworded test questions: recall, precision and cost.

    python benchmarks/paraphrases.py --data tasks/ --wordnet FOLDER --tune 1 2 --seeds 7 8 9

Rewords questions by machine, since nobody publishes labelled ones: synonyms (WordNet's first sense;
FOLDER is usr/share/wordnet of Debian's package wordnet-base), clauses in another order, active to
passive, question to statement, and all together. What must not be found: questions of the same
tasks that are taken out of the search, honest statements, and ordinary sentences.

Two searches of paraphrases.py: `mean`, the cosine of mean word vectors, and `aligned`, the one in
use. A threshold is chosen on the seeds of --tune, the highest recall with a precision of 0.9, and
judged on --seeds; so is the threshold in use.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.contamination.grade import OURS, Judge
from evaluation.contamination.index import Index, build_index
from evaluation.contamination.kinds import Leak, draw_leaks, honest_statement
from evaluation.contamination.ordinary import ordinary_documents
from evaluation.contamination.paraphrases import (
    SENTENCE,
    THRESHOLD,
    Meanings,
    sentences_of,
    suits,
)
from evaluation.suite import load_suite

SHORTEST, LONGEST = (
    8,
    60,
)  # words of a question that is reworded, and of a sentence that is compared
REPLACED = 0.5  # of the words that have a synonym
TARGET = 0.9  # precision
MOVED = re.compile(
    r"^(.{15,}?),? ((?:in|at|on|during|after|before|when|if|because|for|with|from)\b"
    r" [^,?.]{6,})([?.]*)$",
    re.I,
)
PASSIVE = re.compile(r"^(who|what|which \w+) (\w+ed|wrote|made|won|built|led|gave|took) (.+?)\?*$",
                     re.I)  # fmt: skip
PARTICIPLES = {"wrote": "written", "gave": "given", "took": "taken"}
BE = re.compile(r"^(?:what|who|which|where|when) (is|are|was|were) (.+?)\?*$", re.I)
REASON = re.compile(r"^(?:why|how|when|where) (?:do|does|did|can|would|should|is|are|was|were) "
                    r"(.+?)\?*$", re.I)  # fmt: skip
SUBJECT = re.compile(r"^(?:who|what|which \w+) (.+?)\?*$", re.I)
PHRASES = {
    "what is": "tell me", "which of the following": "which one of these",
    "how many": "what number of", "in order to": "so as to", "because": "since",
    "how much": "what amount of", "best": "most fitting", "who": "which person",
    "why": "for what reason", "most likely": "in all probability", "want": "wish", "but": "yet",
    "always": "at all times", "a lot of": "plenty of", "large": "big",
}  # fmt: skip


class Synonyms:
    """WordNet's other words for the first sense of a word, of the kind in which it is used most."""

    def __init__(self, folder: Path) -> None:
        self.of: dict[str, list[str]] = {}
        seen: dict[str, int] = {}
        for kind in ("noun", "verb", "adj", "adv"):
            words: dict[str, list[str]] = {}
            for line in (folder / f"data.{kind}").read_text().splitlines():
                if not line.startswith(" "):
                    parts = line.split()
                    words[parts[0]] = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
            for line in (folder / f"index.{kind}").read_text().splitlines():
                parts = line.split()
                if line.startswith(" ") or int(parts[-1 - int(parts[2])]) <= seen.get(parts[0], -1):
                    continue
                seen[parts[0]] = int(parts[-1 - int(parts[2])])
                others = [w for w in words[parts[-int(parts[2])]] if w.lower() != parts[0]]
                self.of[parts[0]] = [w.split("(")[0].replace("_", " ") for w in others]

    def word(self, word: str, draw: random.Random) -> str:
        """Another word, with the ending of a plural or of a past kept, or the same."""
        if len(word) < 4 or not word.islower() or draw.random() > REPLACED:
            return word
        for ending in ("", "s", "ed", "ing"):
            stem = word.removesuffix(ending)
            if word.endswith(ending) and self.of.get(stem):
                return draw.choice(self.of[stem]) + ending
        return word


Rewrite = Callable[[Leak, str, random.Random], str]


def reordered(_leak: Leak, text: str, _draw: random.Random) -> str:
    """The last sentence first, and in it the last clause."""
    *before, last = SENTENCE.split(text)
    clauses = last.rstrip("?. ").split(", ", 1)
    if len(clauses) == 2:
        last = f"{clauses[1]}, {clauses[0]}?"
    elif found := MOVED.match(last):
        last = f"{found[2]}, {found[1]}{found[3]}"
    return " ".join([last, *before])


def passive(_leak: Leak, text: str, _draw: random.Random) -> str:
    if not (found := PASSIVE.match(text)):
        return text
    verb = PARTICIPLES.get(found[2], found[2])
    return f"{found[3]} was {verb} by {'whom' if found[1].lower() == 'who' else found[1]}?"


def statement(leak: Leak, text: str, _draw: random.Random) -> str:
    if found := BE.match(text):
        return f"{leak.answer} {found[1]} {found[2]}."
    if found := SUBJECT.match(text):
        return f"{leak.answer} {found[1]}."
    if found := REASON.match(text):
        return f"{found[1]}: {leak.answer}."
    return text


def rewrites(synonyms: Synonyms) -> dict[str, Rewrite]:
    """Each gives the question in other words; unchanged where it does not apply."""

    def by_synonyms(_leak: Leak, text: str, draw: random.Random) -> str:
        for phrase, other in PHRASES.items():
            text = re.sub(rf"\b{phrase}\b", other, text, flags=re.I)
        return re.sub(r"[A-Za-z]+", lambda m: synonyms.word(m[0], draw), text)

    def together(leak: Leak, text: str, draw: random.Random) -> str:
        turned = passive(leak, text, draw)
        turned = statement(leak, text, draw) if turned == text else turned
        return by_synonyms(leak, reordered(leak, turned, draw), draw)

    return {"synonyms": by_synonyms, "reordered": reordered, "passive": passive,
            "statement": statement, "together": together}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A text, its kind, and the question that it rewords or -1; `known`: the scan finds it."""

    kind: str
    text: str
    question: int
    known: bool


def cases_of(
    index: Index, rows: dict[int, int], made: dict[str, Rewrite], seed: int, count: int
) -> tuple[list[Case], set[int]]:
    """The labelled set of a seed, and the questions that are taken out of the search."""
    draw, judge, cases = random.Random(seed), Judge(index, ()), []
    leaks = [leak for leak in draw_leaks(index, 4 * count, seed) if suits(leak.text["question"])
             and leak.alone]  # fmt: skip
    for leak in leaks[:count]:
        asked = " ".join(leak.text["question"].split())
        for kind, rewrite in made.items():
            text = rewrite(leak, asked, draw)
            if text != asked:
                known = leak.example in judge.flagged(text)[OURS]
                cases.append(Case(kind, text, rows[leak.example], known))
    others = leaks[count : 2 * count]
    for leak in others:
        # Another question with the same words is no honest one.
        if judge.flagged(leak.text["question"])[OURS] <= {leak.example}:
            text = " ".join(leak.text["question"].split())
            cases.append(Case("other question", text, -1, False))
    out = {rows[leak.example] for leak in others}
    told = (honest_statement(leak, draw) for leak in leaks[:count])
    cases += [Case("honest statement", text, -1, False) for text in told if text]
    kept = [s for text in ordinary_documents(2 * count, seed) for s in sentences_of(text)]
    cases += [Case("ordinary sentence", text, -1, False)
              for text in draw.sample(kept, min(len(kept), 5 * count))]  # fmt: skip
    return cases, out


@dataclass(frozen=True)
class Judged:
    case: Case
    score: float
    right: bool  # the question that was found is the one that was reworded


def figures(judged: Sequence[Judged], threshold: float) -> tuple[float, float, float]:
    """(precision, recall, recall of what the scan does not find) at a threshold."""
    reworded = [one for one in judged if one.case.question >= 0]
    unknown = [one for one in reworded if not one.case.known]
    flagged = [one for one in judged if one.score >= threshold]
    right = sum(one.right for one in flagged)
    hidden = sum(one.right for one in unknown if one.score >= threshold)
    return (right / max(len(flagged), 1), right / max(len(reworded), 1),
            hidden / max(len(unknown), 1))  # fmt: skip


def run(meanings: Meanings, cases: Sequence[Case], out: set[int]) -> dict[str, list[Judged]]:
    judged = defaultdict(list)
    found = meanings.nearest([case.text for case in cases], sorted(out))
    for case, both in zip(cases, found, strict=True):
        for search, (score, question) in zip(("mean", "aligned"), both, strict=True):
            right = case.question >= 0 and (
                meanings.questions[question] == meanings.questions[case.question]
            )
            judged[search].append(Judged(case, score, right))
    return judged


def main() -> None:
    """Prints the table of thresholds, then the figures of the seeds that chose none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of task files")
    parser.add_argument("--wordnet", type=Path, required=True, help="folder of data.noun")
    parser.add_argument("--questions", type=int, default=400, help="reworded, for a seed")
    parser.add_argument("--documents", type=int, default=3_000, help="ordinary ones")
    parser.add_argument("--tune", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    given = parser.parse_args()
    made = rewrites(Synonyms(given.wordnet))
    with tempfile.TemporaryDirectory(prefix="crucible-paraphrases-") as folder:
        index = build_index(load_suite("full"), given.data, Path(folder) / "index")
        meanings = Meanings(index)
        rows = {example: row for row, example in enumerate(meanings.examples)}

        def judged(seeds: Sequence[int]) -> dict[str, list[Judged]]:
            both = defaultdict(list)
            for seed in seeds:
                cases, out = cases_of(index, rows, made, seed, given.questions)
                for search, one in run(meanings, cases, out).items():
                    both[search] += one
            return both

        chosen = {}
        for search, one in judged(given.tune).items():
            chosen[search] = choose(search, one)
        tested = judged(given.seeds)
        for search, one in tested.items():
            report(search, one, chosen[search])
        report("aligned, as in use,", tested["aligned"], THRESHOLD)
        ordinary(meanings, given.seeds[0], given.documents)


def choose(search: str, judged: Sequence[Judged]) -> float:
    """Prints the precision of each recall; the threshold of the highest that is precise enough."""
    right = sorted((one.score for one in judged if one.right), reverse=True)
    reworded, best = sum(one.case.question >= 0 for one in judged), float("inf")
    print(f"\n{search}: threshold, precision, recall, recall of what the scan misses")
    for share in np.arange(0.05, 1, 0.05):
        if (place := int(share * reworded)) < len(right):
            precision, recall, hidden = figures(judged, right[place])
            print(f"  {right[place]:.3f}  {precision:.3f}  {recall:.3f}  {hidden:.3f}")
            best = right[place] if precision >= TARGET else best
    return best


def _questions(index: Index) -> dict[int, str]:
    """The questions of the index that a sentence is compared with."""
    from evaluation.contamination.index import read_examples

    every = read_examples(index, range(len(index.units.question)))
    return {k: one["question"] for k, one in every.items() if suits(one["question"])}


def report(search: str, judged: Sequence[Judged], threshold: float) -> None:
    """What a search does at a threshold that other seeds chose."""
    precision, recall, hidden = figures(judged, threshold)
    print(f"\n{search} at {threshold:.3f}: precision {precision:.3f}, recall {recall:.3f}, "
          f"of what the scan misses {hidden:.3f}")  # fmt: skip
    of_kind = defaultdict(list)
    for one in judged:
        of_kind[one.case.kind].append(one)
    for kind, ones in of_kind.items():
        share = sum(one.score >= threshold for one in ones) / len(ones)
        scan = sum(one.case.known for one in ones) / len(ones)
        print(f"  {kind}: n {len(ones):,}, found {share:.3f}, by the scan {scan:.3f}")


def ordinary(meanings: Meanings, seed: int, count: int) -> None:
    """What is flagged in ordinary documents, and the megabytes of them for a CPU second."""
    texts = ordinary_documents(count, seed)
    before = time.process_time()
    kept = [sentence for text in texts for sentence in sentences_of(text)]
    flags = sum(best[0] >= THRESHOLD for _, best in meanings.nearest(kept))
    spent = time.process_time() - before
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"\n{len(texts):,} ordinary documents, {len(kept):,} sentences: {flags} flagged\n"
          f"{size:.2f} MB in {spent:.1f} CPU s: {size / spent:.3f} MB a CPU second")  # fmt: skip


if __name__ == "__main__":
    main()
