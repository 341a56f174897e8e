"""Writes the bundled smoke suite: smoke_tasks/*.jsonl and suites/smoke.json, the same every time.

Ten tasks over the four types of the 53, on which a model of two million parameters that has read a
few million tokens of technical English can beat chance: grammar, word order, set phrases, and some
copying. All sentences are our own (smoke_material.py). Run `python -m evaluation.build_smoke_tasks`
after a change; a test holds that the files are what this module writes.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evaluation import smoke_material as material
from evaluation.suite import FOLDER, SMOKE_TASKS, blob_sha1

Row = dict[str, Any]
SEED = 20
ROW_TOKENS = {0: 64, 2: 192, 3: 128}  # by shots: rows longer than this would lose their beginning
BATCH = 32


def build(tasks_folder: Path, suites_folder: Path) -> None:
    """Writes the task files into one folder and suites/smoke.json into the other."""
    entries = []
    for label, category, kind, shots, baseline, rows, settings in suite_tasks():
        path = tasks_folder / f"{label}.jsonl"
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8")
        entry = {"label": label, "category": category, "type": kind, "shots": shots}
        entry |= {"file": path.name, "sha1": blob_sha1(path), "rows": len(rows)}
        entry |= {"max_seq_len": ROW_TOKENS[shots], "batch_size": BATCH} | settings
        entry |= {"baselines": {"v1": baseline, "v2": baseline}, "majority": _majority(rows)}
        entry["core"] = False
        entries.append("  " + json.dumps(entry))
    head = {
        "name": "smoke",
        "source": "written for Crucible",
        "max_seq_len": 256,
        "batch_size": BATCH,
    }
    text = json.dumps(head)[:-1] + ', "tasks": [\n' + ",\n".join(entries) + "\n]}\n"
    (suites_folder / "smoke.json").write_text(text)


def suite_tasks() -> Iterable[tuple[str, str, str, int, float, list[Row], Row]]:
    """Label, category, type, shots, baseline in percent (chance), rows, further settings."""
    choice, schema = "multiple_choice", "schema"
    words, generation = "language_modeling", "generation_task_with_answers"
    cot = {
        "continuation_delimiter": "\nA: Let us look. ",
        "cot_delimiter": " #### ",
        "question_prelimiter": "Q: ",
        "early_stopping_criteria": ["\n\n", "Q:"],
    }
    yield "smoke_word_order", "word order", choice, 2, 25, word_order(), {}
    yield "smoke_article", "grammar", choice, 0, 50, article(), {}
    yield "smoke_grammar", "grammar", choice, 0, 50, grammar(), {"has_categories": True}
    yield "smoke_fitting_start", "grammar", schema, 0, 50, fitting_start(), {}
    yield "smoke_set_phrase", "set phrases", words, 0, 0, set_phrase(), {}
    yield "smoke_set_phrase_fewshot", "set phrases", words, 3, 0, clauses(), {}
    yield "smoke_completion", "set phrases", generation, 2, 0, completion(), {}
    yield "smoke_sentence_end", "meaning", choice, 0, 25, sentence_end(), {}
    yield "smoke_bracket", "copying", choice, 2, 100 / 3, bracket(), {}
    yield "smoke_last_item_cot", "copying", generation, 2, 0, last_item(), cot


def _majority(rows: list[Row]) -> float:
    """Percent right for always the same position, or always the same word: stated, not used."""
    key = next(name for name in ("gold", "continuation", "answer") if name in rows[0])
    answers = Counter(row[key] for row in rows)
    return round(100 * answers.most_common(1)[0][1] / len(rows), 1)


def _random(task: int) -> random.Random:
    return random.Random(SEED + task)  # noqa: S311 - for shuffling, not for secrets


def _choices(rng: random.Random, items: list[tuple[str, str, list[str]]]) -> list[Row]:
    """Rows of (query, right, wrong…) whose right answers stand equally often at each position."""
    count = 1 + len(items[0][2])
    positions = [number % count for number in range(len(items))]
    rng.shuffle(positions)
    rows = []
    for (query, right, wrong), gold in zip(items, positions, strict=True):
        options = [*wrong[:gold], right, *wrong[gold:]]
        rows.append({"query": query, "choices": options, "gold": gold})
    rng.shuffle(rows)
    return rows


def word_order() -> list[Row]:
    """A sentence's end in its order, against three ends in which two neighbours changed places."""
    rng = _random(0)
    items = []
    for number, predicate in enumerate(material.PREDICATES):
        for offset in (0, 1):
            subject = material.SUBJECTS[(2 * number + offset) % len(material.SUBJECTS)]
            parts = predicate.split()
            # The last word keeps its place: a full stop in the middle would give the answer away.
            places = [i for i in range(len(parts) - 2) if parts[i] != parts[i + 1]]
            wrong = []
            for place in rng.sample(places, 3):
                left, right = parts[place : place + 2]
                wrong.append(" ".join([*parts[:place], right, left, *parts[place + 2 :]]))
            items.append((subject, predicate, wrong))
    return _choices(rng, items)


def article() -> list[Row]:
    """`a` or `an`, before nouns and adjectives of technical prose."""
    rng = _random(1)
    items = []
    for number, noun in enumerate(material.AN_NOUNS + material.A_NOUNS):
        right, wrong = ("an", "a") if noun in material.AN_NOUNS else ("a", "an")
        for offset in (0, 1):
            start = material.BEFORE_NOUN[(number + 3 * offset) % len(material.BEFORE_NOUN)]
            items.append((start, f"{right} {noun}.", [f"{wrong} {noun}."]))
    return _choices(rng, items)


def grammar() -> list[Row]:
    """Minimal pairs in five categories, one of them right."""
    rng = _random(2)
    rows: list[Row] = []
    for category, items in material.MINIMAL_PAIRS.items():
        pairs = [(query, right, [wrong]) for query, right, wrong in items]
        rows += [row | {"category": category} for row in _choices(rng, pairs)]
    rng.shuffle(rows)
    return rows


def fitting_start() -> list[Row]:
    """Two starts and one end: the start with which the end agrees."""
    rng = _random(3)
    rows = []
    items = list(material.STARTS)
    for index, (one, many) in enumerate(material.ONE_AND_MANY):
        first, second = (material.VERBS[(2 * index + k) % len(material.VERBS)] for k in (0, 1))
        items.append((one, many, first[0]))
        items.append((many, one, second[1]))
    for number, (right, wrong, end) in enumerate(items):
        gold = number % 2
        options = [right, wrong] if gold == 0 else [wrong, right]
        rows.append({"context_options": options, "continuation": end, "gold": gold})
    rng.shuffle(rows)
    return rows


def set_phrase() -> list[Row]:
    """The word that nearly always follows."""
    rng = _random(4)
    rows = [{"context": start, "continuation": end} for start, end in material.SET_PHRASES]
    rng.shuffle(rows)
    return rows


def clauses() -> list[Row]:
    """The same kind of phrase after a clause of its own; asked after three examples."""
    rng = _random(8)
    half = material.CLAUSES[: len(material.CLAUSES) // 2]
    rows = [
        {"context": f"{clause} {beginning}", "continuation": end}
        for number, (beginning, end) in enumerate(material.PHRASE_BEGINNINGS)
        for clause in (half[(number + offset) % len(half)] for offset in range(4))
    ]
    rng.shuffle(rows)
    return rows


def completion() -> list[Row]:
    """Set phrases, and the second half of pairs that technical prose keeps together."""
    rng = _random(5)
    half = material.CLAUSES[len(material.CLAUSES) // 2 :]
    starts = material.PAIR_STARTS
    items = [
        (f"{half[(number + offset) % len(half)]} {beginning}", end)
        for number, (beginning, end) in enumerate(material.PHRASE_BEGINNINGS)
        for offset in range(3)
    ] + [
        (starts[number % len(starts)] + first, second)
        for number, (first, second) in enumerate(material.PAIRS)
    ]
    rows = [{"context": context, "answer": end, "aliases": [end]} for context, end in items]
    rng.shuffle(rows)
    return rows


def sentence_end() -> list[Row]:
    """The noun that a sentence is about, against the nouns of three other sentences."""
    rng = _random(6)
    ends = sorted({end for _, end in material.SENTENCES})
    items = []
    for start, end in material.SENTENCES:
        others = rng.sample([other for other in ends if other != end], 3)
        items.append((start, f"{end}.", [f"{other}." for other in others]))
    return _choices(rng, items)


def bracket() -> list[Row]:
    """An open bracket is closed by its own kind."""
    rng = _random(7)
    kinds = [("(", ")"), ("[", "]"), ("{", "}")]
    items = []
    for number, (start, inside, last) in enumerate(material.IN_BRACKETS):
        for offset in (0, 1):
            opening, closing = kinds[(number + offset) % 3]
            others = [kind[1] for kind in kinds if kind[1] != closing]
            query = f"{start} {opening}{inside}"
            items.append((query, f"{last}{closing}", [f"{last}{other}" for other in others]))
    return _choices(rng, items)


def last_item() -> list[Row]:
    """The last of three items, named after looking at them; answers vary, so chance is nil."""
    rng = _random(9)
    rows: list[Row] = []
    seen = set()
    while len(rows) < 48:
        first, second, third = rng.sample(material.COMMON_WORDS, 3)
        if (first, second, third) in seen:
            continue
        seen.add((first, second, third))
        question = f"The items are {first}, {second} and {third}. Which item is the last?"
        chain = f"The last item is {third}."
        rows.append({"context": question, "chain_of_thought": chain, "answer": third})
    return rows


if __name__ == "__main__":
    build(SMOKE_TASKS, FOLDER)
