"""A small suite with every task type, written for these tests, and its index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.contamination.index import Index, build_index
from evaluation.suite import Suite, Task, blob_sha1

PASSAGE = (
    "The lighthouse at Orren Point was finished in the autumn of 1873 after four masons and a "
    "blacksmith had carried every stone up the cliff by hand. Its first keeper, Mattias Holm, kept "
    "bees behind the oil store and wrote down the weather twice a day in a green ledger that his "
    "daughter later sold to a museum of fishing boats. In the winter of 1881 ice closed the sound "
    "for eleven weeks, and the keeper walked across it to fetch flour, lamp oil and letters."
)
QUESTIONS = [
    ("Which animals did the first keeper of the lighthouse raise behind the oil store?", "bees"),
    ("How many weeks did ice close the sound in the winter of 1881?", "eleven weeks"),
]
CHOICE_ROWS = [
    {
        "query": "Question: A gardener notices that the lower leaves of her tomato plants turn "
        "yellow while the upper ones stay green. What should she add to the soil first?\n"
        "Choices:\nA. a compost rich in nitrogen\nB. a handful of coarse sea salt\n"
        "C. crushed oyster shells\nD. nothing before the first frost\nAnswer:",
        "choices": ["A", "B", "C", "D"],
        "gold": 0,
    },
    {
        "query": "Question: Why does a kettle with a coat of lime need longer to boil the same "
        "amount of water than a clean one?\nAnswer:",
        "choices": ["lime conducts heat badly", "lime makes water heavier"],
        "gold": 0,
    },
]
LM_ROWS = [
    {
        "context": "She put the cracked violin on the counter, and the old man turned it twice in "
        "his hands before he said that nobody had asked him to mend a",
        "continuation": "violin",
    },
    {"context": "The capital of Veldonia is", "continuation": "Marsk"},
    {"context": "The river through Veldonia is", "continuation": "Ostra"},
    {"context": "The currency of Veldonia is", "continuation": "thaler"},
]
SCHEMA_ROWS = [
    {
        "context_options": [
            "The carpenter lent the painter his tall ladder because the carpenter",
            "The carpenter lent the painter his tall ladder because the painter",
        ],
        "continuation": "had to reach the gutter above the second window.",
        "gold": 1,
    }
]
GENERATION_ROWS = [
    {
        "context": "Ida folds 14 paper cranes an hour and her brother folds 9. They start at noon "
        "and stop together at four. How many cranes lie on the table at the end?",
        "answer": "92",
        "chain_of_thought": "Together they fold 14 + 9 = 23 cranes an hour for 4 hours.",
    }
]
CODE_ROWS = [
    {
        "prompt": "def longest_plateau(values):\n    "
        '"""Length of the longest stretch of equal neighbours in a list of numbers."""\n',
        "canonical_solution": "    best = run = 0\n    for place, value in enumerate(values):\n"
        "        if place and values[place - 1] == value:\n            run += 1\n        else:\n"
        "            run = 1\n        best = max(best, run)\n    return best\n",
    }
]
READING_ROWS = [
    {"context": f"Context: {PASSAGE}\nQuestion: {question}\nAnswer:", "continuation": answer}
    for question, answer in QUESTIONS
]
TINY_ROWS = [{"context": f"{k} + {k} =", "continuation": str(2 * k)} for k in range(30)]

FILES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "choice": ("multiple_choice", CHOICE_ROWS),
    "lm": ("language_modeling", LM_ROWS),
    "schema": ("schema", SCHEMA_ROWS),
    "generation": ("generation_task_with_answers", GENERATION_ROWS),
    "reading": ("language_modeling", READING_ROWS),
    "code": ("code_evaluation", CODE_ROWS),
    "sums": ("language_modeling", TINY_ROWS),
}


def write_suite(folder: Path, files: dict[str, tuple[str, list[dict[str, Any]]]]) -> Suite:
    """Task files in `folder`, and the suite that names them."""
    tasks = []
    for label, (kind, rows) in files.items():
        path = folder / f"{label}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        tasks.append(
            Task(label=label, category="test", type=kind, shots=0, file=path.name,
                 sha1=blob_sha1(path), rows=len(rows), has_categories=False, baselines={},
                 core=False, settings={})
        )  # fmt: skip
    return Suite("test", 2048, 8, tuple(tasks), None)


@pytest.fixture(scope="session")
def small_suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, Path]:
    folder = tmp_path_factory.mktemp("contamination-tasks")
    return write_suite(folder, FILES), folder


@pytest.fixture(scope="session")
def index(small_suite: tuple[Suite, Path], tmp_path_factory: pytest.TempPathFactory) -> Index:
    suite, data = small_suite
    return build_index(suite, data, tmp_path_factory.mktemp("contamination") / "index")


@pytest.fixture
def shard(tmp_path: Path) -> Callable[..., Path]:
    """Writes texts as one shard of JSON lines and gives its path."""

    def write(*texts: str, name: str = "a.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return path

    return write


FILLER = (
    "On Tuesday the committee met again to discuss the drainage of the lower meadow, and as in "
    "other years it was decided to wait for the report of the surveyor before anything was dug."
)
