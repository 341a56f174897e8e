"""Every way in which a parquet shard may hold text is read, and what would fill memory is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from submissions import documents, expansion, parquet
from submissions.failures import Failure
from submissions.shards import LocalShard, read_documents

TEXTS = [f"document {k} says {'ja ' * (k % 7)}über {k * k}" for k in range(700)]
KINDS = {
    "string": pa.string(),
    "large": pa.large_string(),
    "view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
}


def shard_of(path: Path) -> LocalShard:
    return LocalShard(path.name, "parquet" if path.suffix == ".parquet" else "jsonl.zst", path)


def read(path: Path) -> list[str]:
    return [document.text for document in read_documents(shard_of(path))]


def refusal(path: Path) -> Failure:
    with pytest.raises(Failure) as raised:
        read(path)
    return raised.value


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", ""])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_encoding_page_version_and_string_type_is_read(
    encoding: str, version: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    if encoding.startswith("DELTA") and kind == "dictionary":
        kind = "string"  # Arrow writes the other, but cannot read it
    settings = {"use_dictionary": True}
    if encoding:
        settings = {"use_dictionary": False, "column_encoding": {"text": encoding}}
    table = pa.table({"id": range(len(TEXTS)), "text": pa.array(TEXTS).cast(KINDS[kind])})
    pq.write_table(table, path, row_group_size=300, data_page_version=version,
                   data_page_size=2_000, **settings)  # fmt: skip
    assert read(path) == TEXTS


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
def test_every_codec_of_parquet_is_read(codec: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "a.parquet", compression=codec)
    assert read(tmp_path / "a.parquet") == TEXTS


def test_a_column_that_leaves_its_dictionary_is_read(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS})
    pq.write_table(table, tmp_path / "a.parquet", dictionary_pagesize_limit=500)
    assert read(tmp_path / "a.parquet") == TEXTS


def test_a_page_that_asks_for_too_much_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    monkeypatch.setattr(parquet, "MAX_PAGE", 20 * 2**20)
    size = parquet.MAX_PAGE + 2**20
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), compression="zstd",
                          use_dictionary=False) as writer:  # fmt: skip
        writer.write_table(pa.table({"text": pa.array(["a" * size])}))
    assert path.stat().st_size < 2**20
    failure = refusal(path)
    assert failure.code == "expands_too_much"
    assert "21 MiB" in failure.message


def test_pages_that_are_read_together_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    monkeypatch.setattr(parquet, "MAX_PAGE", 2**20)
    columns = {f"c{k}": ["x" * 1_000] * 300 for k in range(4)} | {"text": ["y" * 1_000] * 300}
    pq.write_table(pa.table(columns), path, use_dictionary=False)
    assert read(path) == columns["text"]  # only its own column is read
    with pytest.raises(Failure) as raised, parquet.opened(path, path.name, columns=()):
        pass
    assert raised.value.code == "expands_too_much"


def test_pages_that_expand_too_much_are_refused_before_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    monkeypatch.setattr(expansion, "FREE", 2**20)
    pq.write_table(pa.table({"text": ["y" * 3 * 2**20]}), path, compression="zstd",
                   use_dictionary=False)  # fmt: skip
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    assert refusal(path).code == "expands_too_much"


MOST_HELD = """
import sys
from pathlib import Path
from submissions.shards import LocalShard, read_documents
most = documents = 0
for document in read_documents(LocalShard("a", "parquet", Path(sys.argv[1]))):
    documents += 1
    if documents % 20 == 0:
        lines = Path("/proc/self/status").read_text().splitlines()
        most = max(most, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
print(documents, most // 1024)
"""


def test_of_a_large_row_group_only_pages_are_in_memory(tmp_path: Path) -> None:
    path, rows, text = tmp_path / "a.parquet", 300, "lorem ipsum" * 100_000
    pq.write_table(pa.table({"text": [text[k:] for k in range(rows)]}), path, compression="none",
                   use_dictionary=False, write_batch_size=1)  # fmt: skip
    assert path.stat().st_size > 300 * 2**20
    command = [sys.executable, "-c", MOST_HELD, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    documents, most = map(int, done.stdout.split())
    assert documents == rows
    assert most < 400  # MiB: 256 rows that are read together, and the library


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", ""])
def test_a_text_that_is_repeated_without_being_written_is_refused(
    encoding: str, tmp_path: Path
) -> None:
    path, text = tmp_path / "a.parquet", "lorem ipsum " * 200_000
    if encoding:
        pq.write_table(pa.table({"text": [text] * 60}), path, compression="zstd",
                       use_dictionary=False, column_encoding={"text": encoding})  # fmt: skip
    else:
        array = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), [text])
        pq.write_table(pa.table({"text": array}), path, compression="zstd",
                       dictionary_pagesize_limit=2**30)  # fmt: skip
    assert refusal(path).code == "expands_too_much"


@pytest.mark.parametrize("damage", ["a header without an end", "an offset behind the file"])
def test_a_damaged_page_header_is_no_traceback(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": TEXTS}), path, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36 if damage == "a header without an end" else b"\x00" * 36
    path.write_bytes(data)
    assert refusal(path).code == "shard_corrupt"


def test_lines_are_stopped_by_the_same_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "FREE", 2**20)
    compress = zstandard.ZstdCompressor().compress
    path = tmp_path / "a.jsonl.zst"
    for lines in (b"\n" * 2**20, b'{"text": "' + b"a" * 3 * 2**20 + b'"}\n'):
        path.write_bytes(compress(lines))
        assert refusal(path).code == "expands_too_much"
    path.write_bytes(compress(b'{"text": "once more"}\n' * 20_000))
    assert len(read(path)) == 20_000  # half a megabyte is free


def test_a_window_is_read_up_to_the_limit_and_named_beyond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl.zst"

    def write(window: int) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window)
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        with path.open("wb") as file, compressor.stream_writer(file) as writer:
            writer.write(b'{"text": "a document"}\n')

    write(28)  # more than the library allows by itself
    assert read(path) == ["a document"]
    monkeypatch.setattr(documents, "MAX_WINDOW", 2**27)
    failure = refusal(path)
    assert failure.code == "expands_too_much"
    assert "256 MiB" in failure.message
    assert "--long=27" in failure.message


def test_a_frame_with_a_dictionary_is_refused_by_name(tmp_path: Path) -> None:
    lines = [f'{{"text": "{text}"}}\n'.encode() for text in TEXTS]
    dictionary = zstandard.train_dictionary(2_000, lines)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    (tmp_path / "a.jsonl.zst").write_bytes(compressor.compress(b"".join(lines)))
    failure = refusal(tmp_path / "a.jsonl.zst")
    assert failure.code == "shard_corrupt"
    assert str(dictionary.dict_id()) in failure.message
