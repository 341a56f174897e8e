"""The tokenised dataset on disk: webdataset tars of packed rows, in the form that open_lm reads.

A folder holds `shard-00000000.tar`, … whose members `<row>.json.gz` are JSON lists of seq_len + 1
ids, `manifest.jsonl` for open_lm, and `summary.json` with the hash of every shard, so that the
hash of the summary stands for the whole folder however large it is.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.job import write_json_atomically

Row = npt.NDArray[np.uint16]  # every vocabulary of ours has fewer than 65,536 ids

MANIFEST, SUMMARY = "manifest.jsonl", "summary.json"
ROWS_PER_SHARD = 8192  # DCLM's wds-chunk-size
GZIP_LEVEL = 6


@dataclass(frozen=True)
class RowShard:
    """One tar: its file name, rows and hash of its bytes."""

    name: str
    num_sequences: int
    sha256: str


@dataclass(frozen=True)
class Summary:
    """What summary.json holds; `rows_sha256` hashes the uncompressed rows, one JSON list a line."""

    scale: str
    seed: int
    seq_len: int
    recipe_sha256: str
    tokenizer_sha256: str
    dataset_sha256: str
    rows_sha256: str
    documents: int
    sequences: int
    tokens: int  # ids in the rows, end-of-text included
    unique_tokens: int  # ids of documents that do not repeat an earlier one exactly
    epochs: float  # how often one training of this scale reads the dataset
    shards: list[RowShard]


def write_shard(folder: Path, index: int, rows: Iterable[bytes]) -> RowShard:
    """Writes one tar of rows, each a JSON list in UTF-8; the same rows give the same bytes."""
    name = f"shard-{index:08d}.tar"
    count = 0
    with tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            content = gzip.compress(row, GZIP_LEVEL, mtime=0)
            member = tarfile.TarInfo(f"{index:08d}-{count:06d}.json.gz")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            count += 1
    return RowShard(name, count, file_sha256(folder / name))


def write_manifest_and_summary(folder: Path, summary: Summary) -> None:
    """Ends a folder. The manifest ends with a newline: open_lm drops what follows the last one."""
    lines = [
        json.dumps({"shard": s.name.removesuffix(".tar"), "num_sequences": s.num_sequences})
        for s in summary.shards
    ]
    (folder / MANIFEST).write_text("".join(f"{line}\n" for line in lines))
    write_json_atomically(folder / SUMMARY, asdict(summary))


def read_summary(folder: Path) -> Summary:
    """The summary of a finished folder; `tokens_invalid` when there is none."""
    try:
        content: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
        shards = [RowShard(**shard) for shard in content.pop("shards")]
        return Summary(shards=shards, **content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(
            "tokens_invalid", f"{folder} holds no readable {SUMMARY} of tokenised rows: {error}"
        ) from None


def folder_hash(folder: Path) -> str:
    """Hash of the summary, which holds the hash of every shard; `tokens_invalid` without one."""
    read_summary(folder)
    return file_sha256(folder / SUMMARY)


def read_rows(folder: Path, summary: Summary, first: int = 0) -> Iterator[Row]:
    """Rows [seq_len + 1] in manifest order, from row number `first` on.

    A shard's hash is checked before its first row is given: `artifact_corrupt` when it is gone or
    changed, `tokens_invalid` when it holds other rows than it should.
    """
    passed = 0
    for shard in summary.shards:
        if passed + shard.num_sequences > first:
            for position, row in enumerate(_rows_of_shard(folder, shard, summary.seq_len)):
                if passed + position >= first:
                    yield row
        passed += shard.num_sequences


def _rows_of_shard(folder: Path, shard: RowShard, seq_len: int) -> Iterator[Row]:
    path = folder / shard.name
    if not path.is_file():
        raise Failure("artifact_corrupt", f"the shard {shard.name} is missing from {folder}")
    if file_sha256(path) != shard.sha256:
        raise Failure("artifact_corrupt", f"the shard {shard.name} in {folder} has changed")
    count = 0
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None  # write_shard makes regular members only
            row = np.array(orjson.loads(gzip.decompress(file.read())), dtype=np.uint16)
            if row.shape != (seq_len + 1,):
                raise Failure(
                    "tokens_invalid",
                    f"row {count} of {shard.name} has {row.size} ids, not {seq_len + 1}",
                )
            count += 1
            yield row
    if count != shard.num_sequences:
        raise Failure(
            "tokens_invalid", f"{shard.name} holds {count} rows, not {shard.num_sequences}"
        )
