"""Records in columns: what goes in comes out, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from evaluation.answers import read_answers
from evaluation.examples import Example, write_examples
from evaluation.records import read_outcomes, read_records, suite_hash_of, write_records
from submissions.failures import Failure
from tests.rounding import FLOAT32

CHOICE = Example("arc", 3, None, True, 1, 1, [-12.5, -8.25], [4, 3], margin=0.5)
EXAMPLES = [
    CHOICE,
    replace(CHOICE, index=1, correct=False, prediction=0, margin=None),
    Example("mmlu", 0, "virology", False, None, 0, [-3.0], [2]),
    Example("mmlu", 1, "anatomy", True, None, 0, [-1.5], [1]),
    Example("gsm", 7, None, False, None, None, generated="Let us\nthink. #### “12”"),
]
HASH = "ab" * 32


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    assert write_records(path, EXAMPLES, HASH) == 5
    assert read_records(path) == EXAMPLES  # these numbers are exact in float32
    assert suite_hash_of(path) == HASH
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_the_two_forms_hold_the_same(tmp_path: Path) -> None:
    columns, lines = tmp_path / "records.parquet", tmp_path / "examples.jsonl"
    write_examples(lines, EXAMPLES)
    write_records(columns, read_records(lines), HASH)
    assert read_records(columns) == read_records(lines)
    one, other = read_outcomes(columns), read_outcomes(lines)
    assert (one.tasks, one.categories) == (other.tasks, other.categories)
    assert one.task.tolist() == [0, 0, 1, 1, 2]
    assert one.category.tolist() == other.category.tolist() == [-1, -1, 0, 1, -1]
    assert one.index.tolist() == other.index.tolist() == [3, 1, 0, 1, 7]
    assert one.correct.tolist() == other.correct.tolist()


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_records(tmp_path / f"{name}.parquet", EXAMPLES, HASH)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_many_records_stay_small_and_in_batches(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sums = generator.normal(-30, 10, size=(60_000, 4))
    examples = [
        replace(CHOICE, index=i, option_logprobs=row) for i, row in enumerate(sums.tolist())
    ]
    path = tmp_path / "records.parquet"
    write_records(path, examples, HASH)
    assert pq.ParquetFile(path).num_row_groups == 2
    assert path.stat().st_size < 60_000 * 20
    found = read_outcomes(path)
    assert found.index.tolist() == list(range(60_000))
    again = np.array([e.option_logprobs for e in read_records(path)])
    assert (np.abs(again - sums) <= FLOAT32 / 2 * np.abs(sums)).all()  # rounded once


def test_answers_are_ordered_by_category_and_row(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    write_records(path, EXAMPLES, HASH)
    found = read_answers(path)
    assert found["arc"].index.tolist() == [1, 3]
    assert found["arc"].correct.tolist() == [False, True]
    assert found["mmlu"].categories == ("anatomy", "virology")
    assert found["mmlu"].index.tolist() == [1, 0]
    assert [part.tolist() for part in found["mmlu"].by_category()] == [[True], [False]]


def test_a_question_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    write_records(path, [CHOICE, CHOICE], HASH)
    with pytest.raises(Failure, match="a question of arc twice") as raised:
        read_answers(path)
    assert raised.value.code == "results_invalid"


@pytest.mark.parametrize("name", ["records.parquet", "examples.jsonl", "missing.parquet"])
def test_what_holds_no_records_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if not name.startswith("missing"):
        path.write_bytes(b'{"nothing": 1}\n')
    with pytest.raises(Failure, match="does not hold the records") as raised:
        read_records(path)
    assert raised.value.code == "results_invalid"


def test_outcomes_are_read_without_pandas(tmp_path: Path) -> None:
    """Arrow's own conversions import it: 45 MiB in every process of the site and the worker."""
    write_records(tmp_path / "records.parquet", EXAMPLES, HASH)
    code = (
        "import sys, pathlib; from evaluation.records import read_outcomes;"
        " found = read_outcomes(pathlib.Path(sys.argv[1]));"
        " print(len(found.task), 'pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "records.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "False"]
