"""The index of a suite's questions: built from its task files, kept as memory-mapped arrays.

A folder: index.json (what it was made of and its hash), one .npy file an array, and examples.jsonl
with the questions in clear, which an index to hand out lacks. Two indexes with the same hash give
the same findings.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.contamination.code import Programs, programs_of
from evaluation.contamination.content import content_of
from evaluation.contamination.folding import Fold, fold_table
from evaluation.contamination.grams import MOST_UNITS, CommonGrams, gram_table, keep_grams
from evaluation.contamination.hits import Units, running_sums
from evaluation.contamination.questions import Question, read_questions
from evaluation.contamination.rules import RULES
from evaluation.contamination.scanner import Grams
from evaluation.contamination.verify import STRONG_ANSWER
from evaluation.contamination.words import LONG, SHORT, Words
from evaluation.suite import Suite, Task, hash_of
from evaluation.task_file import check_task_file
from submissions.failures import Failure
from submissions.job import write_json_atomically
from submissions.progress import Progress, no_progress

META, EXAMPLES = "index.json", "examples.jsonl"
PASSAGE_STEP = 4  # every so many-th n-gram of a passage: half of a long text is found by fewer
# An example of fewer words, or letters' words, than these looks like many other texts.
FEWEST_WORDS, FEWEST_LETTERED = 6, 4
SPACED = 0.9  # English words a word: fewer in a script without spaces, whose n-grams are LONG
SHORT_QUESTION = 20  # words, below which n-grams of SHORT words are taken
COMMON_QUESTION = 13  # words, from which a question is one, however many examples ask it
WEAK = re.compile(r"\W*(?:yes|no|true|false|maybe|[a-z]|[-\d\s.,$%]+)\W*", re.IGNORECASE)


@dataclass(frozen=True)
class Index:
    """An index in memory, or mapped. `owners` [any, 3] int32: example, task, row of its file."""

    meta: dict[str, Any]
    fold: Fold
    grams: Grams
    units: Units
    programs: Programs
    owners: npt.NDArray[np.int32]
    checkable: npt.NDArray[np.bool_]  # of each example
    folder: Path

    @property
    def hash(self) -> str:
        return str(self.meta["index_hash"])

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """`label, file, sha1, examples, checkable` of each task, in the suite's order."""
        return list(self.meta["tasks"])

    @cached_property
    def first_owner(self) -> npt.NDArray[np.int64]:
        """Where the owners of each example begin; one more at the end."""
        return np.searchsorted(self.owners[:, 0], np.arange(len(self.units.question) + 1))


def build_index(
    suite: Suite,
    data: Path | None,
    output: Path,
    *,
    labels: list[str] | None = None,
    without_text: bool = False,
    progress: Progress = no_progress,
) -> Index:
    """Builds the index of these tasks in the folder `output`, which must be new or an index.

    Without labels: of every task of the suite whose file is in `data`; the others are listed as
    `missing`. `without_text` leaves out the questions and all hashes of single words. Raises
    `unknown_task`, `task_file_missing`, `task_file_invalid`, `output_exists`.
    """
    if output.exists() and any(output.iterdir()) and not (output / META).exists():
        raise Failure("output_exists", f"{output} is not empty and holds no index")
    tasks, paths, missing = _files(suite, data, labels)
    builder = _Builder()
    for number, task in enumerate(tasks):
        progress(number, len(tasks), "tasks", task.label)
        builder.add(number, task, paths[number])
    progress(len(tasks), len(tasks), "tasks", "building")
    made = builder.arrays(without_text)
    described = builder.described(tasks, made)
    meta = {
        "rules": RULES,
        "tasks": described,
        "missing": missing,
        "suite": suite.name,
        "with_text": not without_text,
        "words": {"long": LONG, "short": SHORT, "passage_step": PASSAGE_STEP},
        "fold": hashlib.sha256(b"".join(array.tobytes() for array in fold_table())).hexdigest(),
    }
    meta["index_hash"] = hash_of(meta)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, array in made.items():
        np.save(partial / f"{name}.npy", array)
    if not without_text:
        builder.write_examples(partial / EXAMPLES)
    write_json_atomically(partial / META, meta)
    shutil.rmtree(output, ignore_errors=True)
    partial.rename(output)
    return load_index(output)


def load_index(folder: Path) -> Index:
    """The index in a folder, its arrays mapped; raises `index_invalid`."""
    try:
        meta = json.loads((folder / META).read_text())
        mapped = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
        plain = {name: np.asarray(array) for name, array in mapped.items()}
        fold = Fold(*(plain[f"fold_{name}"] for name in Fold._fields))
        grams = Grams(*(plain[f"grams_{name}"] for name in Grams._fields))
        programs = Programs(*(plain[f"programs_{name}"] for name in Programs._fields))
        units = Units(*(plain[f"units_{name}"] for name in Units._fields))
        index = Index(
            meta, fold, grams, units, programs, plain["owners"], plain["checkable"], folder
        )
        known = index.meta["rules"], index.meta["index_hash"]
    except (OSError, ValueError, KeyError) as error:
        raise Failure("index_invalid", f"{folder} holds no index: {error}") from None
    if known[0] != RULES:
        said = f"{folder} was built by rules {known[0]}, this Crucible has {RULES}"
        raise Failure("index_invalid", said)
    return index


def read_examples(index: Index, wanted: Iterable[int]) -> dict[int, dict[str, Any]]:
    """`passage, question, choices, answers, code` of these examples; none without text."""
    path, numbers = index.folder / EXAMPLES, set(wanted)
    if not numbers or not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        return {k: json.loads(line) for k, line in enumerate(file) if k in numbers}


def _files(
    suite: Suite, data: Path | None, labels: list[str] | None
) -> tuple[list[Task], list[Path], list[str]]:
    """The tasks, their verified files, and the labels of those that are left out."""
    tasks, paths, missing = [], [], []
    for task in suite.choose(labels):
        try:
            paths.append(check_task_file(suite, task, data))
            tasks.append(task)
        except Failure as failure:
            if labels is not None or failure.code != "task_file_missing":
                raise
            missing.append(task.label)
    if not tasks:
        raise Failure("task_file_missing", f"{data} holds no file of the suite {suite.name}")
    return tasks, paths, missing


@dataclass
class _Unit:
    """The words of one example, or of one passage."""

    question: Words
    answers: list[Words]
    weak: list[bool]
    passage: int
    choices: int
    text: Question


class _Builder:
    """Collects distinct examples and passages; tasks that share a file share them."""

    def __init__(self) -> None:
        self.examples: dict[bytes, int] = {}
        self.units: list[_Unit] = []
        self.passages: dict[bytes, int] = {}
        self.passage_words: list[Words] = []
        self.owners: list[tuple[int, int, int]] = []
        self.read: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def add(self, number: int, task: Task, path: Path) -> None:
        """Adds the rows of one task's file."""
        known = self.read.get((task.file, task.type))
        if known is None:
            known = [(self._example(one), one.index) for one in read_questions(task, path)]
            self.read[task.file, task.type] = known
        self.owners += [(example, number, row) for example, row in known]

    def _example(self, one: Question) -> int:
        question = _words(one.question)
        answers = [_words(answer) for answer in one.answers]
        passage = self._passage(one.passage)
        key = question.hashes.tobytes() + b"|" + answers[0].hashes.tobytes() + b"|%d" % passage
        if key not in self.examples:
            self.examples[key] = len(self.units)
            weak = [
                WEAK.fullmatch(answer) is not None or (len(own.hashes) == 1 and own.shares[0] < 1)
                for answer, own in zip(one.answers, answers, strict=True)
            ]
            choices = sum(len(_words(choice).hashes) for choice in one.choices)
            self.units.append(_Unit(question, answers, weak, passage, choices, one))
        return self.examples[key]

    def _passage(self, text: str) -> int:
        if not text:
            return -1
        words = _words(text)
        number = self.passages.setdefault(words.hashes.tobytes(), len(self.passages))
        if number == len(self.passage_words):
            self.passage_words.append(words)
        return number

    def arrays(self, without_text: bool) -> dict[str, npt.NDArray[Any]]:
        """Every array of the index by its file's name."""
        texts = [(unit.question, unit.answers[0]) for unit in self.units]
        hashes = [np.concatenate([q.hashes, a.hashes]) for q, a in texts]
        letters = [np.concatenate([q.letters, a.letters]) for q, a in texts]
        asked = np.array([len(q.hashes) for q, _ in texts], np.int32)
        sizes = np.array([len(one) for one in hashes], np.int32)
        pace = np.array(
            [np.concatenate([q.shares, a.shares, [1.0]])[: max(len(q.shares) + len(a.shares), 1)]
             .mean() for q, a in texts])  # fmt: skip
        short = (asked < SHORT_QUESTION) & (pace > SPACED)
        n = np.where(short, SHORT, LONG).astype(np.uint8)
        hashes += [words.hashes for words in self.passage_words]
        letters += [words.letters for words in self.passage_words]
        first = np.concatenate([[0], np.cumsum([len(one) for one in hashes])]).astype(np.int64)
        words = np.concatenate([np.empty(0, np.uint64), *hashes])
        lettered = np.concatenate([np.empty(0, np.bool_), *letters])
        passages = len(self.passage_words)
        n = np.concatenate([n, np.full(passages, LONG, np.uint8)])
        step = np.ones(len(n), np.int32)
        step[len(asked) :] = PASSAGE_STEP
        kept: CommonGrams = keep_grams(words, lettered, first, n, step)
        rows = np.bincount([example for example, _ in self._rows()], minlength=len(asked))
        _drop_what_is_like_many(kept, words, lettered, first, rows, pace)
        table = gram_table(kept, words, first)
        arrays = self._unit_arrays(words, first, n, asked, sizes, pace, kept, table, without_text)
        made = {f"units_{name}": array for name, array in arrays._asdict().items()}
        made |= {f"grams_{name}": array for name, array in table.grams._asdict().items()}
        programs = programs_of([unit.text.code for unit in self.units])
        made |= {f"programs_{name}": array for name, array in programs._asdict().items()}
        made |= {f"fold_{name}": array for name, array in fold_table()._asdict().items()}
        owners = np.array(self.owners, np.int32).reshape(-1, 3)
        made["checkable"] = self._checkable(made)
        made["owners"] = owners[np.lexsort(owners.T[::-1])]
        return made

    def _rows(self) -> Iterable[tuple[int, int]]:
        """(example, row) of every row of every file, once."""
        return (pair for rows in self.read.values() for pair in rows)

    def _unit_arrays(
        self, words: Any, first: Any, n: Any, asked: Any, sizes: Any, pace: Any, kept: Any,
        table: Any, without_text: bool,
    ) -> Units:  # fmt: skip
        same = Counter(unit.question.hashes.tobytes() for unit in self.units)
        alone = [
            same[unit.question.hashes.tobytes()] == 1
            or (unit.passage < 0 and unit.question.shares.sum() >= COMMON_QUESTION)
            for unit in self.units
        ]
        answers = [words for unit in self.units for words in unit.answers]
        lengths = [len(one.hashes) for one in answers]
        keys = [running_sums(one.hashes)[-1] for one in answers]
        passage = np.array([unit.passage for unit in self.units], np.int32)
        order = np.argsort(passage, kind="stable").astype(np.int32)
        none, flat = np.empty(0, np.uint64), [one.hashes for one in answers]
        return Units(
            first_posting=table.first,
            posting_unit=kept.unit,
            posting_word=kept.word,
            first_word=first,
            covered=kept.covered,
            words=none if without_text else words,
            n=n,
            question=asked,
            answer=(sizes - asked).astype(np.int32),
            choices=np.array([unit.choices for unit in self.units], np.int32),
            alone=np.array(alone, np.uint8),
            passage=passage,
            pace=pace,
            content=content_of(words, first, asked),
            first_answer=np.cumsum([0, *(len(unit.answers) for unit in self.units)]),
            answer_key=np.array(keys, np.uint64),
            answer_words=np.array(lengths, np.int32),
            answer_weak=np.array([w for unit in self.units for w in unit.weak], np.uint8),
            answer_place=np.cumsum([0, *lengths]),
            answer_hashes=none if without_text else np.concatenate([none, *flat]),
            first_example=np.searchsorted(passage[order], np.arange(len(self.passages) + 1)),
            passage_examples=order,
        )

    def _checkable(self, made: dict[str, Any]) -> npt.NDArray[np.bool_]:
        """Of each example whether any finding but PASSAGE is possible."""
        sums = np.concatenate([[0], np.cumsum(made["units_covered"])])
        first = made["units_first_word"]
        has = sums[first[1:]] > sums[first[:-1]]
        own, passage = has[: len(self.units)], made["units_passage"]
        of_passage = np.append(has[len(self.units) :], False)[passage]  # -1: the last, False
        strong = made["units_answer"] * made["units_pace"] >= STRONG_ANSWER
        return np.asarray(own | (of_passage & strong))

    def described(self, tasks: Sequence[Task], made: dict[str, Any]) -> list[dict[str, Any]]:
        """What the index holds of each task; an example that no n-gram covers is not checkable."""
        counts = [Counter[bool]() for _ in tasks]
        for example, number, _ in self.owners:
            counts[number][bool(made["checkable"][example])] += 1
        return [
            {"label": task.label, "file": task.file, "sha1": task.sha1, "type": task.type,
             "examples": count.total(), "checkable": count[True]}
            for task, count in zip(tasks, counts, strict=True)
        ]  # fmt: skip

    def write_examples(self, path: Path) -> None:
        """The examples in clear, one a line, in the order of their numbers."""
        with path.open("w", encoding="utf-8") as file:
            for unit in self.units:
                one = unit.text
                record = {"passage": one.passage, "question": one.question, "code": one.code,
                          "choices": one.choices, "answers": one.answers}  # fmt: skip
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _words(text: str) -> Words:
    return Words(text.encode("utf-8", "replace"))


def _drop_what_is_like_many(
    kept: CommonGrams,
    words: Any,
    lettered: Any,
    first: Any,
    rows: npt.NDArray[np.int64],
    pace: npt.NDArray[np.float64],
) -> None:
    """Takes out the n-grams of examples that cannot be told from others.

    They have too few words of their own, or stand for too many `rows` that differ in signs only.
    """
    examples = len(rows)
    sums = np.concatenate([[0], np.cumsum(kept.covered)])
    own = sums[first[1:]] - sums[first[:-1]]
    poor = np.zeros(len(own), np.bool_)
    poor[:examples] = own[:examples] * pace < FEWEST_WORDS
    poor[:examples] |= rows > MOST_UNITS
    for unit in np.flatnonzero(~poor[:examples] & (own[:examples] < 40)):
        part = slice(first[unit], first[unit + 1])
        chosen = words[part][lettered[part] & (kept.covered[part] > 0)]
        poor[unit] = len(set(chosen.tolist())) < FEWEST_LETTERED
    kept.drop(np.flatnonzero(poor), first)
