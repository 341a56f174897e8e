"""The tokenised dataset on disk: webdataset tars of packed rows, in the form that open_lm reads.

A folder holds `shard-00000000.tar`, … whose members `<row>.json.gz` are JSON lists of seq_len + 1
ids, `manifest.jsonl` for open_lm, and `summary.json` with the hash of every shard, so that the
hash of the summary stands for the whole folder however large it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import deflate
import msgspec

from submissions.codec import read, to_json
from submissions.files import placed_atomically
from submissions.hashing import file_sha256
from submissions.job import write_json_atomically
from training_recipes.results import SourceSummary

MANIFEST, SUMMARY = "manifest.jsonl", "summary.json"
# libdeflate's first level: smaller than zlib's and a third of its time, which would otherwise be
# half of the stage's; the same bytes on every machine.
GZIP_LEVEL = 1
TAR_BLOCK = 512
# A member's header between its name and size, between size and checksum, and after it.
TAR_MODE = b"0000644\0" + b"0000000\0" * 2
TAR_TIME = b"\0" + b"00000000000\0"
TAR_KIND = (b"0" + bytes(100) + b"ustar\x0000").ljust(TAR_BLOCK - 156, b"\0")
TAR_CHECKSUM = sum(TAR_MODE) + sum(TAR_TIME) + 8 * ord(" ") + sum(TAR_KIND)


@dataclass(frozen=True)
class RowShard:
    """One tar: its file name, rows, the hash of its bytes and that of its uncompressed rows."""

    name: str
    num_sequences: int
    sha256: str
    rows_sha256: str  # over the JSON lists, one a line


class ManifestLine(msgspec.Struct, frozen=True):
    """A line of manifest.jsonl: a shard's name without its ending, and its rows."""

    shard: str
    num_sequences: int


@dataclass(frozen=True)
class Summary:
    """What summary.json holds; `rows_sha256` stands for the uncompressed rows in their order."""

    scale: str
    seed: int
    seq_len: int
    recipe_sha256: str
    tokenizer_sha256: str
    dataset_sha256: str
    rows_sha256: str  # over the shards' rows_sha256, one a line
    encoder: str  # library and version
    documents: int
    sequences: int
    tokens: int  # these three as TokenizeResult says
    unique_tokens: int
    epochs: float
    sources: list[SourceSummary]  # empty without a mixture
    shards: list[RowShard]


def write_shard(folder: Path, index: int, rows: Iterable[bytes]) -> RowShard:
    """Writes one tar of rows, each a JSON list in UTF-8; the same rows give the same bytes.

    The file appears when it is complete and on disk.
    """
    name = f"shard-{index:08d}.tar"
    count, digest = 0, hashlib.sha256()
    with placed_atomically(folder / name) as partial:
        with partial.open("wb") as file:
            for row in rows:
                digest.update(row + b"\n")
                content = deflate.gzip_compress(row, GZIP_LEVEL)
                file.write(tar_member(f"{index:08d}-{count:06d}.json.gz", content))
                count += 1
            file.write(bytes(2 * TAR_BLOCK))  # the end mark
        return RowShard(name, count, file_sha256(partial), digest.hexdigest())


def tar_member(name: str, content: bytes | bytearray) -> bytes:
    """A regular file as it stands in a tar of the ustar format (POSIX.1-1988), time 0.

    Made by hand because Python's tarfile takes half as long again as all the rest of a row; a test
    holds that it writes the same.
    """
    size = b"%011o" % len(content)
    variable = name.encode().ljust(100, b"\0"), size
    checksum = b"%06o\0 " % (TAR_CHECKSUM + sum(map(sum, variable)))
    header = b"".join((variable[0], TAR_MODE, size, TAR_TIME, checksum, TAR_KIND))
    return header + content + bytes(-len(content) % TAR_BLOCK)


def write_manifest_and_summary(folder: Path, summary: Summary) -> None:
    """Ends a folder. The manifest ends with a newline: open_lm drops what follows the last one."""
    lines = [ManifestLine(s.name.removesuffix(".tar"), s.num_sequences) for s in summary.shards]
    (folder / MANIFEST).write_text("".join(f"{json.dumps(to_json(line))}\n" for line in lines))
    write_json_atomically(folder / SUMMARY, summary)


def read_summary(folder: Path) -> Summary:
    """The summary of a finished folder; `tokens_invalid` when there is none."""
    return read(Summary, folder / SUMMARY, code="tokens_invalid", where=str(folder / SUMMARY))


def folder_hash(folder: Path) -> str:
    """Hash of the summary, which holds the hash of every shard; `tokens_invalid` without one."""
    read_summary(folder)
    return file_sha256(folder / SUMMARY)
