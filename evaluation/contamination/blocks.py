"""Reads a shard as blocks of raw JSON lines for the scanner, and gives the documents it stops at.

The bytes of a JSON-lines shard go to the compiled scanner as they are. What it does not take (a
line that is not plainly one object with a `text`, and every parquet shard) goes through
`read_documents`, which refuses what `crucible check` refuses, and is written as plain lines first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from evaluation.contamination.index import Index
from evaluation.contamination.scanner import scan_lines
from evaluation.contamination.words import padded
from submissions.documents import MAX_LINE, read_bytes
from submissions.failures import Failure
from submissions.shards import LocalShard, read_documents

BLOCK = 2**20  # bytes that are scanned together, at least
CANDIDATES = 4096  # documents that one call of the scanner can name


@dataclass
class Read:
    """What was read of a shard so far; `bytes` are those of its JSON lines, decompressed."""

    documents: int = 0
    bytes: int = 0


def candidates(shard: LocalShard, index: Index, read: Read) -> Iterator[tuple[int, str]]:
    """(line, text) of every document that shares an n-gram with the index.

    Raises what `read_documents` raises, at the latest when all was read.
    """
    if shard.format == "parquet":
        yield from _by_documents(shard, index, read, 0)
    else:
        yield from _by_bytes(shard, index, read)
    if read.documents == 0:
        raise Failure("shard_empty", "the shard holds no document", shard=shard.name)


def _by_bytes(shard: LocalShard, index: Index, read: Read) -> Iterator[tuple[int, str]]:
    compression = shard.format.removeprefix("jsonl").lstrip(".")
    lines = 0
    for block in _blocks(read_bytes(shard.path, shard.name, compression)):
        scan = _Scan(block, index)
        for line, text in scan.found():
            yield lines + line + 1, text
        read.documents += scan.documents
        read.bytes += scan.position
        lines += scan.lines
        if scan.position < len(block):
            yield from _by_documents(shard, index, read, lines)
            return


def _by_documents(
    shard: LocalShard, index: Index, read: Read, after: int
) -> Iterator[tuple[int, str]]:
    """The same for the documents behind the line `after`."""
    numbers: list[int] = []
    parts: list[bytes] = []
    size = 0
    for document in read_documents(shard):
        if document.line <= after:
            continue
        numbers.append(document.line)
        parts.append(orjson.dumps({"text": document.text}, option=orjson.OPT_APPEND_NEWLINE))
        size += len(parts[-1])
        if size >= BLOCK:
            yield from _scanned(numbers, parts, index, read)
            numbers, parts, size = [], [], 0
    yield from _scanned(numbers, parts, index, read)


def _scanned(
    numbers: Sequence[int], parts: Sequence[bytes], index: Index, read: Read
) -> Iterator[tuple[int, str]]:
    scan = _Scan(b"".join(parts), index)
    for line, text in scan.found():
        yield numbers[line], text
    read.documents += scan.documents
    read.bytes += scan.position


def _blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines, about BLOCK bytes of them or one longer line; the last gets its line end.

    A line longer than MAX_LINE is handed on unfinished, for `read_documents` to refuse.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size < BLOCK or (b"\n" not in chunk and size <= MAX_LINE + BLOCK):
            continue
        joined = b"".join(parts)
        end = joined.rfind(b"\n") + 1 or len(joined)
        yield joined[:end]
        parts, size = [joined[end:]], len(joined) - end
    rest = b"".join(parts)
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"


class _Scan:
    """The scanner on one block; `position` is where it stopped: the block's end if all is well."""

    def __init__(self, block: bytes, index: Index) -> None:
        self.block, self.index = block, index
        self.lines = self.documents = self.position = 0

    def found(self) -> Iterator[tuple[int, str]]:
        """(line of the block from 0, text) of the documents with an n-gram."""
        buffer = padded(self.block)
        table = np.empty((CANDIDATES, 3), np.int64)
        while self.position < len(self.block):
            start = self.position
            lines, documents, count, end = scan_lines(
                buffer[start:], len(self.block) - start, self.index.fold, self.index.grams, table
            )
            for line, first, last in table[:count].tolist():
                document: Any = orjson.loads(self.block[start + first : start + last])
                yield self.lines + line, document["text"]
            self.lines += lines
            self.documents += documents
            self.position = start + end
            if count < len(table):
                break
