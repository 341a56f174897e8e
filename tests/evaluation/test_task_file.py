"""Task files of one's own: what is not sound is refused by row and key before any compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.metrics import accuracy_with_error, error_of_agreement
from evaluation.suite import Task, blob_sha1, load_suite
from evaluation.task_file import check_rows, check_task_file
from submissions.failures import Failure

ROWS = [
    {"query": "the cat sat on the", "choices": ["mat", "dog"], "gold": 0},
    {"query": "the sun is", "choices": ["hot", "cold"], "gold": 0},
]
GENERATION = {"context": "Question: which bird runs?\nAnswer:", "answer": "an emu"}


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def task_of(kind: str = "multiple_choice", categories: bool = False) -> Task:
    return Task(label="t", category="c", type=kind, shots=0, file="t.jsonl", sha1="", rows=None,
                has_categories=categories, baselines={}, core=False, settings={})  # fmt: skip


CASES = {
    "a byte order mark": (b"\xef\xbb\xbf" + lines(*ROWS), "byte order mark"),
    "UTF-16": ("x".encode("utf-16"), "byte order mark"),
    "Latin-1": (lines(ROWS[0]) + b'{"query": "caf\xe9"}\n', "not UTF-8 in line 2"),
    "half a pair": (lines(ROWS[0]) + b'{"query":"a \\ud83d b","choices":["x","y"],"gold":0}\n',
                    "row 1 of its file: 'query' holds half a surrogate pair"),
    "a cut line": (lines(*ROWS)[:-6], "row 1 of its file is not JSON, or is cut off"),
    "no rows": (b"\n \n", "holds no row"),
    "no object": (lines([1]), "row 0 of its file is not a JSON object"),
    "the same row": (lines(*ROWS, ROWS[0]), "row 2 of its file is the same as row 0"),
    "equal options": (lines({**ROWS[0], "choices": ["mat", "mat "]}), "the same option twice"),
    "one option": (lines({**ROWS[0], "choices": ["mat"]}), "'choices' must hold two options"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_sound_is_refused(case: str, tmp_path: Path) -> None:
    data, said = CASES[case]
    (tmp_path / "t.jsonl").write_bytes(data)
    with pytest.raises(Failure) as raised:
        check_rows(task_of(), tmp_path / "t.jsonl")
    assert raised.value.code == "task_file_invalid"
    assert said in raised.value.message


@pytest.mark.parametrize("category", [None, "", 3])
def test_a_category_must_be_a_name(category: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(lines({**ROWS[0], "category": "one"}, {**ROWS[1], "category": category}))
    check_rows(task_of(), path)
    with pytest.raises(Failure, match="row 1 of its file: 'category'"):
        check_rows(task_of(categories=True), path)


@pytest.mark.parametrize(("key", "value"), [("answer", "(a"), ("aliases", ["emu", "The"])])
def test_an_answer_that_is_always_right_is_refused(key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(lines(GENERATION))
    check_rows(task_of("generation_task_with_answers"), path)
    path.write_bytes(lines({**GENERATION, key: value}))
    with pytest.raises(Failure, match=f"row 0 of its file: '{key}'"):
        check_rows(task_of("generation_task_with_answers"), path)


def test_the_files_of_a_suite_of_ones_own_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(lines(*ROWS, ROWS[0]))
    document = {
        "name": "mine", "max_seq_len": 256, "batch_size": 2,
        "tasks": [{"label": "t", "category": "c", "type": "multiple_choice", "shots": 0,
                   "file": "t.jsonl", "sha1": blob_sha1(path), "continuation_delimiter": "\n",
                   "baselines": {"v1": 50, "v2": 50}}],
    }  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(document))
    suite = load_suite(str(tmp_path / "mine.json"))
    with pytest.raises(Failure, match="row 2 of its file is the same as row 0"):
        check_task_file(suite, suite.tasks[0], tmp_path)


def test_answers_that_all_agree_are_no_certainty() -> None:
    for outcome in (True, False):
        result = accuracy_with_error({"": [outcome] * 10})
        assert result.score == float(outcome)
        assert result.stderr == pytest.approx(error_of_agreement(10))
        assert result.stderr > 0.05
    both = accuracy_with_error({"one": [True] * 8, "two": [False] * 8})
    assert both.stderr == pytest.approx(error_of_agreement(8) / 2**0.5)
    assert accuracy_with_error({"": [True, False]}).stderr == pytest.approx(0.5)
    assert accuracy_with_error({"": [True]}).stderr is None
