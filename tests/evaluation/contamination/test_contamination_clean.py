"""Datasets without what was found: what leaves, what stays byte for byte, and the log."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from evaluation.contamination.clean import LOG, clean_dataset
from evaluation.contamination.index import Index
from submissions.failures import Failure
from submissions.shard_search import find_shards
from submissions.shards import LocalShard, format_of, read_documents
from tests.evaluation.contamination.conftest import CHOICE_ROWS, FILLER, PASSAGE

GARDENER = CHOICE_ROWS[0]["query"].partition("\n")[0].removeprefix("Question: ")
LEAK = f"{FILLER} {FILLER} {GARDENER} a compost rich in nitrogen. {FILLER} {FILLER} {FILLER}"
TEXTS = [FILLER, LEAK, PASSAGE, FILLER + " Ü 東京"]
LINES = [
    json.dumps({"id": number, "text": text, "z": [1.50, None]}).encode() + b"\n"
    for number, text in enumerate(TEXTS)
]


def texts_of(folder: Path, name: str) -> list[str]:
    kind = format_of(name)
    assert kind is not None
    return [one.text for one in read_documents(LocalShard(name, kind, folder / name))]


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_documents_leave_and_others_keep_their_bytes(index: Index, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "b").mkdir(parents=True)
    (data / "a.jsonl").write_bytes(b"\n".join(LINES)[:-1])  # blank lines; none ends the file
    (data / "b" / "all.jsonl").write_bytes(LINES[1] * 2)
    figures = clean_dataset([data], index.folder, tmp_path / "out")
    assert (figures["documents"], figures["removed"], figures["cut"]) == (6, 3, 0)
    kept = (tmp_path / "out" / "a.jsonl").read_bytes()
    assert kept == b"\n".join([LINES[0], b"", LINES[2], LINES[3]])[:-1]
    assert not (tmp_path / "out" / "b" / "all.jsonl").exists()  # nothing is left of it
    assert [(line["shard"], line["line"], line["left"]) for line in log_of(tmp_path / "out")] == [
        ("a.jsonl", 3, "document"), ("b/all.jsonl", 1, "document"), ("b/all.jsonl", 2, "document"),
    ]  # fmt: skip
    (found,) = log_of(tmp_path / "out")[0]["findings"]
    assert (found["task"], found["index"], found["severity"]) == ("choice", 0, "high")
    assert [shard.name for shard in find_shards([tmp_path / "out"])] == ["a.jsonl"]


def test_stretches_leave_and_the_rest_stays(index: Index, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"".join(LINES))
    figures = clean_dataset(
        [tmp_path / "a.jsonl"], index.folder, tmp_path / "out", severity="passage", spans=True
    )
    assert (figures["removed"], figures["cut"]) == (1, 1)  # of the passage too little is left
    first, cut, last = (json.loads(line) for line in (tmp_path / "out" / "a.jsonl").open())
    assert (first["text"], last["text"]) == (TEXTS[0], TEXTS[3])
    assert cut["z"] == [1.5, None]
    assert "gardener" not in cut["text"]
    assert "nitrogen" not in cut["text"]
    before, behind = cut["text"].split("\n\n")
    assert LEAK.startswith(before)
    assert LEAK.endswith(behind)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_every_format(name: str, index: Index, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        table = pa.table({"url": [["x"], [], None, ["y"]], "text": TEXTS})
        pq.write_table(table, path, row_group_size=3)
    else:
        compress = gzip.compress if name.endswith("gz") else zstandard.ZstdCompressor().compress
        path.write_bytes(compress(b"".join(LINES)))
    clean_dataset([path], index.folder, tmp_path / "out")
    assert texts_of(tmp_path / "out", name) == [TEXTS[0], TEXTS[2], TEXTS[3]]
    if name.endswith("parquet"):
        assert pq.read_table(tmp_path / "out" / name)["url"].to_pylist() == [["x"], None, ["y"]]


def test_what_is_in_the_way_is_refused(index: Index, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"".join(LINES))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(Failure) as failure:
        clean_dataset([tmp_path / "a.jsonl"], index.folder, tmp_path / "out")
    assert failure.value.code == "output_exists"
    assert (tmp_path / "out" / "mine").read_text() == "kept"
    (tmp_path / "mixture.json").write_text(
        json.dumps({"sources": [{"name": "a", "weight": 1, "paths": ["a.jsonl"]}]})
    )
    with pytest.raises(Failure) as failure:
        clean_dataset([tmp_path / "mixture.json"], index.folder, tmp_path / "new")
    assert failure.value.code == "mixture_invalid"


@pytest.mark.parametrize("codec", ["zstd", "gzip", "none"])
def test_a_parquet_shard_keeps_codec_row_groups_and_types(
    codec: str, index: Index, tmp_path: Path
) -> None:
    texts = [f"{FILLER} {k}" for k in range(90)]
    texts[40] = LEAK
    kinds = {
        "text": pa.large_string(),
        "n": pa.int16(),
        "who": pa.dictionary(pa.int8(), pa.string()),
    }
    table = pa.table({"text": texts, "n": range(90), "who": ["a", "b", None] * 30})
    table = table.cast(pa.schema(list(kinds.items())))
    source = tmp_path / "a.parquet"
    pq.write_table(table, source, compression=codec, row_group_size=30)
    clean_dataset([source], index.folder, tmp_path / "out")
    kept = pq.ParquetFile(tmp_path / "out" / "a.parquet")
    assert kept.read().equals(table.filter(pa.array([k != 40 for k in range(90)])))
    before, after = pq.ParquetFile(source).metadata, kept.metadata
    groups = [after.row_group(k).num_rows for k in range(after.num_row_groups)]
    assert groups == [30, 29, 30]
    for column in range(3):
        ours, theirs = (m.row_group(0).column(column) for m in (after, before))
        assert ours.compression == theirs.compression
        assert ours.has_dictionary_page == theirs.has_dictionary_page


def test_cleaning_a_long_line_looks_at_each_byte_once(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    long = json.dumps({"text": FILLER * 40_000})
    leaked = json.dumps({"text": LEAK})
    path.write_text(f"{long}\n{leaked}\n{long}")
    monkeypatch.setattr("submissions.documents.CHUNK", 1_000)  # seven thousand pieces a line
    clean_dataset([path], index.folder, tmp_path / "out")
    assert (tmp_path / "out" / "a.jsonl").read_text() == f"{long}\n{long}"
