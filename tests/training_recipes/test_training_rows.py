"""Which rows a process of a run reads, in which order, and what is refused about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

from submissions.failures import Failure
from tests.training_recipes.conftest import rows_in_order
from training_recipes.packed_rows import (
    MANIFEST,
    Summary,
    write_manifest_and_summary,
    write_shard,
)
from training_recipes.training_rows import Part, read_batches, require_consistent

SEQ_LEN, VOCAB = 4, 1000
SIZES = (5, 7, 3, 6)


def write_rows(folder: Path, shards: Sequence[Sequence[Sequence[int]]]) -> Summary:
    """A folder of tokenised rows with these ids."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        write_shard(folder, index, [json.dumps(list(row)).encode() for row in rows])
        for index, rows in enumerate(shards)
    ]
    count = sum(map(len, shards))
    summary = Summary(
        scale="tiny", seed=1, seq_len=SEQ_LEN, recipe_sha256="", tokenizer_sha256="",
        dataset_sha256="", rows_sha256="", encoder="", documents=1, sequences=count,
        tokens=5 * count, unique_tokens=5 * count, epochs=1.0, sources=[], shards=written,
    )  # fmt: skip
    write_manifest_and_summary(folder, summary)
    return summary


@pytest.fixture
def numbered(tmp_path: Path) -> tuple[Path, Summary]:
    """Four shards with 21 rows, each of which holds its number five times."""
    numbers = iter(range(sum(SIZES)))
    return tmp_path, write_rows(tmp_path, [[[n] * 5 for n in islice(numbers, s)] for s in SIZES])


def numbers(folder: Path, summary: Summary, part: Part) -> list[list[int]]:
    return [rows[:, 0].tolist() for rows in read_batches(folder, summary, part)]


def test_batches_follow_the_manifest_and_then_a_new_order_for_each_pass(
    numbered: tuple[Path, Summary],
) -> None:
    folder, summary = numbered
    read = np.array(numbers(folder, summary, Part(seed=3, vocab=VOCAB, batch=6, batches=10)))
    assert read.shape == (10, 6)
    starts = np.cumsum([0, *SIZES])
    expected = list(range(21))
    for number in (1, 2):
        order = np.random.Generator(np.random.Philox([3, number])).permutation(4)
        expected += [row for s in order for row in range(starts[s], starts[s + 1])]
    assert read.flatten().tolist() == expected[:60]
    assert expected[21:42] != expected[42:] != expected[:21]


def test_every_world_size_reads_the_same_global_batches(numbered: tuple[Path, Summary]) -> None:
    folder, summary = numbered
    whole = Part(seed=3, vocab=VOCAB, batch=6, batches=8)
    expected = numbers(folder, summary, whole)
    for world_size in (2, 3, 6):
        parts = [
            numbers(folder, summary, replace(whole, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        together = [list(chain(*rows)) for rows in zip(*parts, strict=True)]
        assert together == expected


@pytest.mark.parametrize("first", [1, 3, 4, 7, 8])
def test_a_run_may_begin_at_any_batch(numbered: tuple[Path, Summary], first: int) -> None:
    folder, summary = numbered
    part = Part(seed=3, vocab=VOCAB, batch=6, batches=8)
    later = replace(part, first=first)
    assert numbers(folder, summary, later) == numbers(folder, summary, part)[first:]


def test_shards_before_the_first_row_are_not_even_opened(numbered: tuple[Path, Summary]) -> None:
    folder, summary = numbered
    (folder / summary.shards[0].name).unlink()
    part = Part(seed=3, vocab=VOCAB, batch=6, batches=3, first=1)
    assert numbers(folder, summary, part)[0] == [6, 7, 8, 9, 10, 11]
    with pytest.raises(Failure, match=r"shard-00000000\.tar is missing"):
        numbers(folder, summary, replace(part, first=0))


@pytest.mark.parametrize(("rank", "verify"), [(0, True), (1, True), (1, False)])
def test_a_changed_shard_stops_the_first_batch_that_any_process_needs_it_for(
    numbered: tuple[Path, Summary], rank: int, verify: bool
) -> None:
    folder, summary = numbered
    path = folder / summary.shards[1].name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the end mark: the rows themselves stay readable
    path.write_bytes(content)
    part = Part(3, VOCAB, batch=4, batches=3, rank=rank, world_size=2, verify=verify)
    batches = read_batches(folder, summary, part)
    assert len(next(batches)) == 2  # rows 0 to 3 are of the first shard
    if verify:
        with pytest.raises(Failure, match="has changed") as caught:
            next(batches)  # row 4 is still of the first shard, and rows 5 to 7 of the second
        assert caught.value.code == "artifact_corrupt"
    else:
        assert len(list(batches)) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, 2, 3, 4], "row 1 of shard-00000000.tar has 4 ids, not 5"),
        ([1, 2, 3, 4, 1000], "ids outside the vocabulary of 1000"),
        ([1, 2, 3, 4, -1], "ids outside the vocabulary of 1000"),
        ([1, 2, 3, 4, 1 << 70], "is no list of ids"),
        ([1, 2, 3, 4, "five"], "is no list of ids"),
        ([1, [2], 3, 4, 5], "is no list of ids"),
    ],
)
def test_rows_that_are_not_what_they_should_be(
    tmp_path: Path, row: list[int], message: str
) -> None:
    summary = write_rows(tmp_path, [[[1] * 5, row]])
    with pytest.raises(Failure, match=message) as caught:
        list(read_batches(tmp_path, summary, Part(0, VOCAB, batch=2, batches=1)))
    assert caught.value.code == "tokens_invalid"


def test_a_shard_that_is_no_tar_or_holds_other_rows(tmp_path: Path) -> None:
    summary = write_rows(tmp_path, [[[1] * 5] * 3])
    lie = replace(summary.shards[0], num_sequences=4)
    with pytest.raises(Failure, match="holds 3 rows, not 4"):
        rows_in_order(tmp_path, replace(summary, shards=[lie]))
    (tmp_path / summary.shards[0].name).write_bytes(b"?" * 2000)
    with pytest.raises(Failure, match="no readable tar"):
        list(read_batches(tmp_path, summary, Part(0, VOCAB, 1, 1, verify=False)))


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "no json\n",
        '{"shard": "shard-00000000"}\n',
        '{"shard": "shard-00000001", "num_sequences": 3}\n',
        '{"shard": "shard-00000000", "num_sequences": 4}\n',
        '{"shard": "shard-00000000", "num_sequences": 3}\n' * 2,
    ],
)
def test_a_manifest_that_lies(tmp_path: Path, manifest: str) -> None:
    summary = write_rows(tmp_path, [[[1] * 5] * 3])
    require_consistent(tmp_path, summary)
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(Failure) as caught:
        require_consistent(tmp_path, summary)
    assert caught.value.code == "tokens_invalid"
    write_manifest_and_summary(tmp_path, summary)
    with pytest.raises(Failure, match="do not add up"):
        require_consistent(tmp_path, replace(summary, sequences=4))
