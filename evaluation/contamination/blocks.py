"""Reads a shard as blocks of raw JSON lines for the scanner, and gives the documents it stops at.

The bytes of a JSON-lines shard go to the compiled scanner as they are. What it does not take (a
line that is not plainly one object with a `text`, and every parquet shard) goes through
`read_documents`, which refuses what `crucible check` refuses, and is written as plain lines first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from evaluation.contamination.index import Index
from evaluation.contamination.reading import PADDING
from evaluation.contamination.scanner import scan_lines
from submissions.documents import MAX_LINE, read_bytes
from submissions.failures import Failure
from submissions.shards import OpenShard, read_documents

BLOCK = 2**20  # bytes that are scanned together, at least
NEWLINE = 0x0A
CANDIDATES = 4096  # documents that one call of the scanner can name


@dataclass
class Read:
    """What was read of a shard so far; `bytes` are those of its JSON lines, decompressed."""

    documents: int = 0
    bytes: int = 0


class Candidate(NamedTuple):
    """A document that shares an n-gram with the index: its line in the shard, and its JSON.

    Until the next one is asked for, `sums` are the running sums of its words and `found` its
    n-grams, as the scanner writes them.
    """

    line: int
    json: bytes
    sums: npt.NDArray[np.uint64]
    found: npt.NDArray[np.int32]


def candidates(shard: OpenShard, index: Index, read: Read) -> Iterator[Candidate]:
    """Every document that shares an n-gram with the index.

    Raises what `read_documents` raises, at the latest when all was read.
    """
    scan = _Scan(index, read)
    if shard.format == "parquet":
        yield from _by_documents(shard, scan, 0)
    else:
        yield from _by_bytes(shard, scan)
    if read.documents == 0:
        raise Failure("shard_empty", "the shard holds no document", shard=shard.name)


def scan_of(lines: Sequence[bytes], index: Index, read: Read) -> Iterator[Candidate]:
    """The same for JSON lines in memory, each one object with a `text`; lines count from 0."""
    block = b"".join(lines)
    scan = _Scan(index, read)
    yield from scan.found(bytearray(block + bytes(PADDING)), len(block), range(len(lines)))


def _by_bytes(shard: OpenShard, scan: _Scan) -> Iterator[Candidate]:
    compression = shard.format.removeprefix("jsonl").lstrip(".")
    lines = 0
    for block, end in _blocks(read_bytes(shard, compression)):
        yield from scan.found(block, end, range(lines + 1, sys.maxsize))
        lines += scan.lines
        if scan.position < end:
            yield from _by_documents(shard, scan, lines)
            return


def _by_documents(shard: OpenShard, scan: _Scan, after: int) -> Iterator[Candidate]:
    """The same for the documents behind the line `after`."""
    numbers: list[int] = []
    block = bytearray()
    for document in read_documents(shard):
        if document.line <= after:
            continue
        numbers.append(document.line)
        block += orjson.dumps({"text": document.text}, option=orjson.OPT_APPEND_NEWLINE)
        if len(block) >= BLOCK:
            yield from scan.found(block + bytes(PADDING), len(block), numbers)
            numbers, block = [], bytearray()
    yield from scan.found(block + bytes(PADDING), len(block), numbers)


def _blocks(chunks: Iterator[bytes]) -> Iterator[tuple[bytearray, int]]:
    """(buffer, end) of whole lines, about BLOCK bytes of them or one longer line, for the scanner.

    The last line gets its line end. A line longer than MAX_LINE is handed on unfinished, for
    `read_documents` to refuse. The buffer is used again.
    """
    buffer, size = bytearray(2 * BLOCK), 0
    for chunk in chunks:
        if (more := size + len(chunk) + PADDING - len(buffer)) > 0:
            buffer = buffer + bytes(max(more, len(buffer)))  # scanned before: its length is fixed
        buffer[size : size + len(chunk)] = chunk
        size += len(chunk)
        if size < BLOCK or (b"\n" not in chunk and size <= MAX_LINE + BLOCK):
            continue
        end = buffer.rfind(b"\n", 0, size) + 1 or size
        yield buffer, end
        buffer[: size - end] = buffer[end:size]
        size -= end
    if size:
        buffer[size : size + 1] = b"\n"
        yield buffer, size if buffer[size - 1] == NEWLINE else size + 1


class _Scan:
    """The scanner with the arrays it writes to.

    Of the last block, `lines` says how many were scanned and `position` where it stopped: the
    block's end if all is well.
    """

    def __init__(self, index: Index, read: Read) -> None:
        self.index, self.read = index, read
        self.lines = self.position = 0
        self.table = np.empty((CANDIDATES, 7), np.int64)
        self._make_room(BLOCK)

    def _make_room(self, size: int) -> None:
        """For the words of `size` bytes: each takes two at least, and may begin two n-grams."""
        self.sums = np.empty(size // 2, np.uint64)
        self.grams = np.empty((size, 2), np.int32)

    def found(self, block: bytearray, end: int, numbers: Sequence[int]) -> Iterator[Candidate]:
        """The documents with an n-gram in `block[:end]`, whose lines have these numbers."""
        if end > len(self.grams):
            self._make_room(len(block))
        buffer = np.frombuffer(memoryview(block).toreadonly(), np.uint8)
        self.lines = self.position = 0
        while self.position < end:
            lines, documents, count, self.position = scan_lines(
                buffer, self.position, end, self.index.fold, self.index.grams, self.sums,
                self.grams, self.table,
            )  # fmt: skip
            self.read.documents += documents
            for line, first, last, *spans in self.table[:count].tolist():
                yield Candidate(
                    numbers[self.lines + line],
                    bytes(block[first:last]),
                    self.sums[spans[0] : spans[1]],
                    self.grams[spans[2] : spans[3]],
                )
            self.lines += lines
            if count < len(self.table):
                break
        self.read.bytes += self.position
