"""What a scan reads and what it refuses: formats cut off, lines that are no documents, odd JSON."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from evaluation.contamination.index import Index
from evaluation.contamination.scan import scan_dataset
from submissions.failures import Failure
from tests.evaluation.contamination.conftest import CHOICE_ROWS, FILLER

GARDENER = CHOICE_ROWS[0]["query"].partition("\n")[0].removeprefix("Question: ")
COMPOST = "a compost rich in nitrogen"

BAD = {
    "cut off in the text": (b'{"text": "one"}\n{"text": "two and', "shard_truncated"),
    "not JSON": (b'{"text": "one"}\nno\n{"text": "x"}\n', "not_json"),
    "no text": (b'{"text": "one"}\n{"body": "x"}\n', "text_missing"),
    "null": (b'{"text": null}\n', "text_not_a_string"),
    "a list of texts": (b'{"text": ["x"]}\n', "text_not_a_string"),
    "no object": (b'["text"]\n', "not_an_object"),
    "not UTF-8": (b'{"text": "caf\xe9"}\n', "not_utf8"),
    "half a surrogate pair": (b'{"text": "a \\ud83d b"}\n', "not_utf8"),
    "byte order mark": (b'\xef\xbb\xbf{"text": "x"}\n', "not_utf8"),
    "line end within the text": (b'{"text": "one\ntwo"}\n', "not_json"),
    "an escape that JSON has not": (b'{"text": "a \\q b"}\n', "not_json"),
    "two objects on a line": (b'{"text": "a"} {"text": "b"}\n', "not_json"),
    "nothing": (b"\n \n", "shard_empty"),
    "no bytes": (b"", "shard_empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused(case: str, index: Index, tmp_path: Path) -> None:
    data, code = BAD[case]
    (tmp_path / "bad.jsonl").write_bytes(data)
    with pytest.raises(Failure) as failure:
        scan_dataset([tmp_path / "bad.jsonl"], index.folder, tmp_path / "report.json")
    assert failure.value.code == code
    assert failure.value.shard == "bad.jsonl"
    assert not (tmp_path / "report.json").exists()


def test_what_is_no_json_beside_a_question_is_refused(index: Index, tmp_path: Path) -> None:
    """The scanner does not look into other keys; a document with a finding is parsed."""
    (tmp_path / "bad.jsonl").write_text(f'{{"text": "{GARDENER}", "n": 01}}\n')
    with pytest.raises(Failure) as failure:
        scan_dataset([tmp_path / "bad.jsonl"], index.folder, tmp_path / "report.json")
    assert (failure.value.code, failure.value.shard, failure.value.line) == (
        "not_json",
        "bad.jsonl",
        1,
    )


@pytest.mark.parametrize("kind", ["gz", "zst", "parquet"])
def test_a_truncated_file_never_passes_as_clean(kind: str, index: Index, tmp_path: Path) -> None:
    draw = random.Random(1)
    texts = [" ".join(draw.choices(FILLER.split(), k=50)) for _ in range(3000)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    path = tmp_path / ("a.parquet" if kind == "parquet" else f"a.jsonl.{kind}")
    if kind == "parquet":
        pq.write_table(pa.table({"text": texts}), path)
    else:
        compress = gzip.compress if kind == "gz" else zstandard.ZstdCompressor().compress
        path.write_bytes(compress(lines))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Failure) as failure:
        scan_dataset([path], index.folder, tmp_path / "report.json")
    assert failure.value.code == "shard_truncated"


ODD = {
    "the last of two texts counts": (b'{"text": "%s", "text": "x"}', set()),
    "the last of two texts, found": (b'{"text": "x", "text": "%s"}', {("choice", 0, "high")}),
    "a text within another key": (b'{"meta": {"text": "%s"}, "text": "x"}', set()),
    "a key that is escaped": (b'{"te\\u0078t": "%s"}', {("choice", 0, "high")}),
    "white space": (b' \t{ "n" : -1.5e3 ,\t"text" : "%s" } \r', {("choice", 0, "high")}),
    "braces in a string": (b'{"a": "}{", "b": [{}, "]"], "text": "%s"}', {("choice", 0, "high")}),
    "NUL escaped": (b'{"text": "\\u0000%s\\u0000"}', {("choice", 0, "high")}),
    "big integers": (b'{"n": 12345678901234567890123, "text": "%s"}', {("choice", 0, "high")}),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_json_is_read_as_json(case: str, index: Index, tmp_path: Path) -> None:
    line, expected = ODD[case]
    data = b"\n" + line % f"{GARDENER} {COMPOST}".encode() + b'\n\n{"text": "no line end"}'
    (tmp_path / "odd.jsonl").write_bytes(data)
    report = scan_dataset([tmp_path / "odd.jsonl"], index.folder, tmp_path / "report.json")
    assert report["documents"] == 2
    assert {(f["task"], f["index"], f["severity"]) for f in report["findings"]} == expected
    assert all(finding["line"] == 2 for finding in report["findings"])
