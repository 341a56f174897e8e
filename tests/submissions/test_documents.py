"""Every way in which a shard can be malformed is refused by code, shard and line."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from submissions import documents
from submissions.failures import Failure
from submissions.shard_search import find_shards
from submissions.shards import LocalShard, read_documents

GOOD = b'{"text": "first"}\n{"text": "caf\xc3\xa9", "url": "x"}\n{"text": "third"}\n'


def texts(path: Path) -> list[str]:
    (shard,) = find_shards([path])
    return [document.text for document in read_documents(shard)]


def failure_of(path: Path) -> Failure:
    with pytest.raises(Failure) as caught:
        texts(path)
    return caught.value


def packed(data: bytes, suffix: str) -> bytes:
    if suffix.endswith(".gz"):
        return gzip.compress(data, mtime=0)
    return zstandard.compress(data) if suffix.endswith(".zst") else data


BAD_LINES = {
    "half a surrogate pair": (b'{"text": "a\\ud800b"}', "not_utf8", "surrogate"),
    "the other half": (b'{"text": "a\\udc00b"}', "not_utf8", "surrogate"),
    "an encoded surrogate": (b'{"text": "\xed\xa0\x80"}', "not_utf8", "byte 11"),
    "Latin-1": (b'{"text": "caf\xe9"}', "not_utf8", "byte 14"),
    "byte order mark": (b'\xef\xbb\xbf{"text": "a"}', "not_utf8", "byte order mark"),
    "UTF-16": ('{"text": "a"}'.encode("utf-16"), "not_utf8", "UTF-16"),
    "no JSON": (b"once upon a time", "not_json", "column 1"),
    "single quotes": (b"{'text': 'a'}", "not_json", "column 2"),
    "two objects": (b'{"text": "a"} {"text": "b"}', "not_json", "column 15"),
    "an object over lines": (b"{", "not_json", "end of data"),
    "NaN": (b'{"text": "a", "score": NaN}', "not_json", "column 24"),
    "NUL bytes": (b"\0\0\0\0", "not_json", "NUL"),
    "a raw tab in a string": (b'{"text": "a\tb"}', "not_json", "control character"),
    "nested too deeply": (b'{"a":' * 3000 + b"1" + b"}" * 3000, "not_json", "depth"),
    "a list": (b'["text"]', "not_an_object", "a list"),
    "a string": (b'"text"', "not_an_object", "a string"),
    "null": (b"null", "not_an_object", "null"),
    "a number": (b"17", "not_an_object", "a number"),
    "no text key": (b'{"content": "a", "url": "b"}', "text_missing", "content, url"),
    "an empty object": (b"{}", "text_missing", "none"),
    "text in capitals": (b'{"Text": "a"}', "text_missing", "Text"),
    "null text": (b'{"text": null}', "text_not_a_string", "null"),
    "a list of texts": (b'{"text": ["a"]}', "text_not_a_string", "a list"),
    "a number as text": (b'{"text": 1.5}', "text_not_a_string", "a number"),
    "an object as text": (b'{"text": {}}', "text_not_a_string", "an object"),
    "true as text": (b'{"text": true}', "text_not_a_string", "true or false"),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_refused_by_its_number(tmp_path: Path, case: str, suffix: str) -> None:
    line, code, said = BAD_LINES[case]
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(packed(GOOD + line + b"\n" + GOOD, suffix))
    failure = failure_of(path)
    assert (failure.code, failure.shard, failure.line) == (code, path.name, 4)
    assert said in failure.message
    assert "\n" not in failure.message
    assert failure.fault == "participant"


def test_a_bad_line_far_down_is_found(tmp_path: Path) -> None:
    lines = [b'{"text": "%d"}' % number for number in range(200_000)]
    lines[199_998] = b'{"texts": "x"}'
    path = tmp_path / "long.jsonl.zst"
    path.write_bytes(zstandard.compress(b"\n".join(lines)))
    assert failure_of(path).place == "long.jsonl.zst:199999"


BAD_FILES = {
    "empty.jsonl": (b"", "shard_empty"),
    "empty.jsonl.gz": (b"", "shard_empty"),
    "empty.jsonl.zst": (b"", "shard_empty"),
    "empty.parquet": (b"", "shard_empty"),
    "blank.jsonl": (b"\n  \n\r\n", "shard_empty"),
    "nothing.jsonl.gz": (gzip.compress(b""), "shard_empty"),
    "nothing.jsonl.zst": (zstandard.compress(b""), "shard_empty"),
    "plain.jsonl.gz": (GOOD, "shard_corrupt"),
    "plain.jsonl.zst": (GOOD, "shard_corrupt"),
    "plain.parquet": (GOOD, "shard_corrupt"),
    "gzip.jsonl": (gzip.compress(GOOD), "shard_corrupt"),
    "zstd.jsonl": (zstandard.compress(GOOD), "shard_corrupt"),
    "zip.jsonl": (b"PK\x03\x04rest", "shard_corrupt"),
    "tail.jsonl.gz": (gzip.compress(GOOD) + b"tail", "shard_corrupt"),
    "tail.jsonl.zst": (zstandard.compress(GOOD) + b"tail and more", "shard_corrupt"),
    "magic.parquet": (b"PAR1", "shard_truncated"),
    "holes.parquet": (b"PAR1" + bytes(100) + b"PAR1", "shard_corrupt"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused(tmp_path: Path, name: str) -> None:
    data, code = BAD_FILES[name]
    (tmp_path / name).write_bytes(data)
    failure = failure_of(tmp_path / name)
    assert (failure.code, failure.shard, failure.line) == (code, name, None)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    for name, data in (
        ("a.jsonl.gz", gzip.compress(GOOD)),
        ("a.jsonl.zst", compressor.compress(GOOD)),
    ):
        damaged = bytearray(data)
        damaged[-2] ^= 1  # in the check sum
        (tmp_path / name).write_bytes(damaged)
        assert failure_of(tmp_path / name).code == "shard_corrupt"


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_every_truncation_of_a_compressed_shard_is_found(tmp_path: Path, suffix: str) -> None:
    data = packed(GOOD, suffix)
    path = tmp_path / f"cut{suffix}"
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        assert failure_of(path).code in ("shard_truncated", "shard_empty", "shard_corrupt"), cut
    path.write_bytes(data)
    assert len(texts(path)) == 3


def test_every_truncation_within_a_later_frame_is_found(tmp_path: Path) -> None:
    first, second = zstandard.compress(GOOD), zstandard.compress(GOOD * 50)
    path = tmp_path / "frames.jsonl.zst"
    for cut in range(1, len(second)):
        path.write_bytes(first + second[:cut])
        assert failure_of(path).code == "shard_truncated", cut
    path.write_bytes(first + second)
    assert len(texts(path)) == 153


def test_every_truncation_of_plain_lines_is_found(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    for cut in range(1, len(GOOD)):
        path.write_bytes(GOOD[:cut])
        if GOOD[cut : cut + 1] == b"\n" or GOOD[cut - 1 : cut] == b"\n":
            assert len(texts(path)) == len(GOOD[:cut].splitlines())  # whole lines are a dataset
        else:
            failure = failure_of(path)
            assert (failure.code, failure.line) == ("shard_truncated", GOOD[:cut].count(b"\n") + 1)


def test_what_is_allowed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    lines = [b'{"text": ""}', b"", b'  {"text": "a\\u0000b"}\r', b"   ",
             b'{"text": "no", "text": "last key"}', b'{"text": "\\ud83d\\ude00"}',
             b'{"text": "end", "n": 123456789012345678901234567890}']  # fmt: skip
    path.write_bytes(b"\n".join(lines))
    (shard,) = find_shards([path])
    assert [(document.line, document.text) for document in read_documents(shard)] == [
        (1, ""), (3, "a\0b"), (5, "last key"), (6, "😀"), (7, "end"),
    ]  # fmt: skip


def test_skippable_and_empty_zstd_frames_are_passed(tmp_path: Path) -> None:
    skippable = bytes.fromhex("502a4d18") + (5).to_bytes(4, "little") + b"hello"
    path = tmp_path / "frames.jsonl.zst"
    path.write_bytes(skippable + zstandard.compress(b"") + zstandard.compress(GOOD) + skippable)
    assert len(texts(path)) == 3


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_a_bomb_is_stopped_by_the_longest_line(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_LINE", 2**20)
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(packed(GOOD + bytes(2**27), suffix))
    tracemalloc.start()
    failure = failure_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (failure.code, failure.line) == ("line_too_long", 4)
    assert peak < 2**27 / 2, "the bomb was unpacked whole"


def test_a_line_just_short_enough_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.jsonl"
    line = json.dumps({"text": "x" * 5000}).encode()
    path.write_bytes(line + b"\n")
    monkeypatch.setattr(documents, "CHUNK", 512)  # so that a line comes in pieces
    monkeypatch.setattr(documents, "MAX_LINE", len(line))
    assert texts(path) == ["x" * 5000]
    monkeypatch.setattr(documents, "MAX_LINE", len(line) - 1)
    assert failure_of(path).code == "line_too_long"


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_a_file_that_the_system_refuses(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(GOOD)
    (shard,) = find_shards([path])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(Failure) as caught:
        list(read_documents(shard))
    assert (caught.value.code, caught.value.shard) == ("shard_unreadable", name)
    assert "Permission denied" in caught.value.message


def write_parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_rows_are_read_in_order(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", url=["u"] * 5, text=["a", "b", "", "é", "a"])
    (shard,) = find_shards([path])
    assert [(document.line, document.text) for document in read_documents(shard)] == [
        (1, "a"), (2, "b"), (3, ""), (4, "é"), (5, "a"),
    ]  # fmt: skip
    large = pa.array(["x", "y"], pa.large_string())
    assert texts(write_parquet(tmp_path / "b.parquet", text=large)) == ["x", "y"]


def test_bad_parquet_is_refused(tmp_path: Path) -> None:
    def outcome(name: str, **columns: object) -> tuple[str, int | None]:
        failure = failure_of(write_parquet(tmp_path / name, **columns))
        assert failure.shard == name
        return failure.code, failure.line

    assert outcome("a.parquet", content=["x"]) == ("text_missing", None)
    assert outcome("b.parquet", text=[1, 2]) == ("text_not_a_string", None)
    assert outcome("c.parquet", text=[b"x"]) == ("text_not_a_string", None)
    assert outcome("d.parquet", text=["x", "y", "z", None]) == ("text_not_a_string", 4)
    assert outcome("e.parquet", text=pa.array([], pa.string())) == ("shard_empty", None)
    broken = pa.array([b"fine", b"\xff\xfe"], pa.binary()).view(pa.string())
    assert outcome("f.parquet", text=broken) == ("not_utf8", 2)


def test_every_truncation_of_parquet_is_found(tmp_path: Path) -> None:
    data = write_parquet(tmp_path / "whole.parquet", text=["a", "b", "c"]).read_bytes()
    path = tmp_path / "cut.parquet"
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        expected = {0: "shard_empty"}.get(cut, "shard_corrupt" if cut < 4 else "shard_truncated")
        assert failure_of(path).code == expected, cut


def test_damaged_parquet_pages_are_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", text=[os.urandom(40).hex() for _ in range(50)])
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    assert failure_of(path).code == "shard_corrupt"


def test_the_address_of_a_document_is_found_where_datasets_keep_it(tmp_path):
    lines = [
        {"text": "a", "url": "http://a.example/"},
        {"text": "b", "metadata": {"WARC-Target-URI": "http://b.example/"}},
        {"text": "c", "url": 7, "metadata": "none"},
        {"text": "d", "url": "x" * 3_000},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = [document.url for document in read_documents(LocalShard("a.jsonl", "jsonl", path))]
    assert found == ["http://a.example/", "http://b.example/", "", ""]
