"""Packing and shuffling: what comes out depends on the documents, the recipe and the seed alone."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256
from training_recipes import packed_rows
from training_recipes.packed_rows import read_rows, read_summary
from training_recipes.scales import Scale
from training_recipes.tokenize import tokenize_dataset
from training_recipes.tokenizer import load_tokenizer

Texts = Callable[..., list[str]]
WriteShard = Callable[[Path, list[str]], Path]


def test_rows_hold_the_documents_with_end_of_text_between(
    tmp_path: Path, tiny: Scale, dataset: Path
) -> None:
    summary = tokenize_dataset([dataset], tmp_path / "out", tiny)
    rows = list(read_rows(tmp_path / "out", summary))
    assert {len(row) for row in rows} == {33}
    # Put back into the order before the shuffle, they are the documents one after another.
    order = np.random.Generator(np.random.Philox(tiny.seed)).permutation(len(rows))
    stream = np.empty((len(rows), 33), dtype=np.int64)
    stream[order] = rows
    shards = sorted(dataset.iterdir(), key=file_sha256)
    texts = [json.loads(line)["text"] for shard in shards for line in shard.open()]
    encode = load_tokenizer("smoke").encode
    expected = [token for text in texts for token in [*encode(text).ids, 0]]
    assert stream.ravel().tolist() == expected[: stream.size]
    assert 0 <= len(expected) - stream.size < 33
    assert (summary.documents, summary.sequences, summary.tokens) == (1600, len(rows), stream.size)
    assert summary.epochs == pytest.approx(tiny.rows / len(rows), abs=1e-4)


def test_names_and_order_of_files_do_not_matter(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    shutil.copy(dataset / "one.jsonl", tmp_path / "z.jsonl")
    shutil.copy(dataset / "two.jsonl", tmp_path / "a.jsonl")
    renamed = [tmp_path / "z.jsonl", tmp_path / "a.jsonl"]
    again = tokenize_dataset(renamed, tmp_path / "out", tiny)
    assert again == read_summary(tokens)  # the hashes of the tars' bytes included


def test_the_seed_changes_the_order_and_not_the_rows(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    summary = tokenize_dataset([dataset], tmp_path / "out", tiny, seed=5)
    first = [row.tobytes() for row in read_rows(tokens, read_summary(tokens))]
    second = [row.tobytes() for row in read_rows(tmp_path / "out", summary)]
    assert first != second
    assert sorted(first) == sorted(second)


def test_open_lm_can_read_the_folder(tokens: Path) -> None:
    text = (tokens / "manifest.jsonl").read_text()
    assert text.endswith("\n")
    for line in map(json.loads, text.splitlines()):
        with tarfile.open(tokens / f"{line['shard']}.tar") as tar:
            members = tar.getmembers()
            assert len(members) == line["num_sequences"]
            key, _, extension = members[0].name.partition(".")  # as webdataset splits names
            assert extension == "json.gz"
            assert key
            file = tar.extractfile(members[0])
            assert file is not None
            row = json.loads(gzip.decompress(file.read()))
            assert len(row) == 33
            assert all(type(number) is int for number in row)


def test_rows_are_cut_into_several_shards(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_summary(tokens)
    monkeypatch.setattr("training_recipes.tokenize.ROWS_PER_SHARD", 1000)
    cut = tokenize_dataset([dataset], tmp_path / "out", tiny)
    assert [shard.num_sequences for shard in cut.shards[:-1]] == [1000] * (len(cut.shards) - 1)
    assert cut.rows_sha256 == whole.rows_sha256
    skipped = list(read_rows(tmp_path / "out", cut, first=1200))
    expected = list(read_rows(tokens, whole))[1200:]
    assert np.array_equal(skipped, expected)


def test_repeated_documents_are_not_unique(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    for name in ("one", "two", "three"):  # the same documents twice, in two equal shards
        source = dataset / ("one.jsonl" if name != "two" else "two.jsonl")
        shutil.copy(source, tmp_path / f"{name}.jsonl")
    summary = tokenize_dataset([tmp_path], tmp_path / "out", tiny)
    once = read_summary(tokens)
    assert summary.documents == 2400
    assert summary.unique_tokens == once.unique_tokens
    assert summary.unique_tokens < summary.tokens


def test_a_dataset_too_small_is_refused_with_both_numbers(
    tmp_path: Path, tiny: Scale, write_shard: WriteShard, some_texts: Texts
) -> None:
    write_shard(tmp_path / "few.jsonl", some_texts(10))
    with pytest.raises(
        Failure, match=f"has [0-9,]+ tokens.*needs {tiny.tokens_needed:,}"
    ) as caught:
        tokenize_dataset([tmp_path / "few.jsonl"], tmp_path / "out", tiny)
    assert caught.value.code == "dataset_too_small"
    assert not (tmp_path / "out").exists()


def test_a_bad_document_names_shard_and_line(
    tmp_path: Path, tiny: Scale, write_shard: WriteShard, some_texts: Texts
) -> None:
    path = write_shard(tmp_path / "bad.jsonl", some_texts(3))
    path.write_text(path.read_text() + '{"txt": "no text"}\n')
    with pytest.raises(Failure) as caught:
        tokenize_dataset([path], tmp_path / "out", tiny)
    assert (caught.value.code, caught.value.place) == ("text_missing", "bad.jsonl:4")


def test_a_finished_folder_is_returned_and_another_is_not_overwritten(
    tmp_path: Path, tiny: Scale, dataset: Path
) -> None:
    output = tmp_path / "out"
    first = tokenize_dataset([dataset], output, tiny)
    written = (output / "summary.json").stat().st_mtime_ns
    assert tokenize_dataset([dataset], output, tiny) == first
    assert (output / "summary.json").stat().st_mtime_ns == written
    with pytest.raises(Failure, match="another dataset, scale or seed") as caught:
        tokenize_dataset([dataset], output, tiny, seed=9)
    assert caught.value.code == "output_exists"


def test_what_an_interrupted_run_left_is_no_obstacle(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "shard-00000007.tar").write_text("half")
    tokenize_dataset([dataset], tmp_path / "out", tiny)
    names = [{p.name for p in folder.iterdir()} for folder in (tmp_path / "out", tokens)]
    assert names[0] == names[1]
    assert not (tmp_path / ".out.partial").exists()


def test_a_dataset_that_changed_since_validation_is_refused(
    tmp_path: Path, tiny: Scale, dataset: Path
) -> None:
    sound = combined_sha256(file_sha256(path) for path in dataset.iterdir())
    tokenize_dataset([dataset], tmp_path / "out", tiny, expected_sha256=sound)
    with pytest.raises(Failure) as caught:
        tokenize_dataset([dataset], tmp_path / "other", tiny, expected_sha256="0" * 64)
    assert caught.value.code == "artifact_corrupt"


@pytest.mark.parametrize("damage", ["remove", "change", "lie"])
def test_damaged_rows_are_refused(tmp_path: Path, tokens: Path, damage: str) -> None:
    folder = tmp_path / "tokens"
    shutil.copytree(tokens, folder)
    summary = read_summary(folder)
    shard = folder / summary.shards[0].name
    if damage == "remove":
        shard.unlink()
    elif damage == "change":
        content = bytearray(shard.read_bytes())
        content[2000] ^= 1
        shard.write_bytes(content)
    else:
        more = replace(summary.shards[0], num_sequences=summary.shards[0].num_sequences + 1)
        summary = replace(summary, shards=[more])
    with pytest.raises(Failure) as caught:
        list(packed_rows.read_rows(folder, summary))
    assert caught.value.code == ("tokens_invalid" if damage == "lie" else "artifact_corrupt")
