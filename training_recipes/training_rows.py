"""Packed rows in training order: which rows each process of a run gets, and every check on them.

Row number n of a run lies in pass n // rows of the dataset. Pass 0 reads the shards in the
manifest's order, every later pass in an order that the seed draws; rows inside a shard keep theirs.
The global batch k is rows [k·G, (k + 1)·G), however many processes share it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import orjson

from submissions.codec import decode
from submissions.failures import Failure
from training_recipes.packed_rows import MANIFEST, ManifestLine, RowShard, Summary

Row = npt.NDArray[np.uint16]  # every vocabulary of ours has fewer than 65,536 ids
Rows = npt.NDArray[np.uint16]  # [rows, seq_len + 1]
SHARDS_AHEAD, BATCHES_AHEAD = 1, 2

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """What one process of a run reads: rank `rank`'s share of each global batch."""

    seed: int  # of the order of the shards in the second and later passes
    vocab: int
    batch: int  # rows of a global batch
    batches: int  # of the whole run
    first: int = 0  # the batch to begin with
    rank: int = 0
    world_size: int = 1
    verify: bool = True  # compare the shards' hashes; one process of a machine is enough

    @property
    def rows(self) -> range:
        """The row numbers that are this part's within a global batch."""
        share = self.batch // self.world_size
        return range(self.rank * share, (self.rank + 1) * share)


def require_consistent(tokens: Path, summary: Summary) -> None:
    """Holds manifest.jsonl, which open_lm reads, against summary.json: `tokens_invalid`."""
    path = tokens / MANIFEST
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise Failure("tokens_invalid", f"cannot read {path}: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, 1):
        entry = decode(ManifestLine, line, code="tokens_invalid", where=f"{path}, line {number}")
        found.append((f"{entry.shard}.tar", entry.num_sequences))
    if found != [(shard.name, shard.num_sequences) for shard in summary.shards]:
        raise Failure("tokens_invalid", f"{path} names other shards or counts than summary.json")
    if sum(shard.num_sequences for shard in summary.shards) != summary.sequences:
        raise Failure("tokens_invalid", f"the counts in {tokens}/summary.json do not add up")


def verify_shards(tokens: Path, summary: Summary) -> None:
    """Holds every shard against its hash, for an engine that reads them itself."""
    for shard in summary.shards:
        _opened(tokens, shard, verify=True)


def read_batches(tokens: Path, summary: Summary, part: Part) -> Iterator[Rows]:
    """This part of every global batch from `part.first` on, each [len(part.rows), seq_len + 1].

    Shards and batches are prepared ahead in threads. Before the first batch that a shard has rows
    in, its bytes are held against its hash: `artifact_corrupt` when they differ or are gone,
    `tokens_invalid` for rows of another length or number, or with ids outside the vocabulary.
    """
    shards = _ahead(_shards_in_order(tokens, summary, part), SHARDS_AHEAD)
    return _ahead(_batches(shards, summary.seq_len, part), BATCHES_AHEAD)


def shard_order(summary: Summary, seed: int, number: int) -> list[RowShard]:
    """The shards in the order in which pass `number` (from 0) reads them."""
    if number == 0:
        return summary.shards
    order = np.random.Generator(np.random.Philox([seed, number])).permutation(len(summary.shards))
    return [summary.shards[index] for index in order]


@dataclass(frozen=True)
class _Opened:
    """A shard in memory: its bytes, where each row's compressed bytes lie, its first row number."""

    shard: RowShard
    content: bytes
    spans: list[tuple[int, int]]
    start: int = 0

    def row(self, position: int, seq_len: int, vocab: int) -> Row:
        """The row at `position`, uint16 [seq_len + 1]."""
        offset, size = self.spans[position]
        where = f"row {position} of {self.shard.name}"
        try:
            ids = orjson.loads(gzip.decompress(self.content[offset : offset + size]))
            row = np.array(ids, dtype=np.int64)
        except (OSError, EOFError, ValueError, TypeError, OverflowError) as error:
            raise Failure("tokens_invalid", f"{where} is no list of ids: {error}") from None
        if row.shape != (seq_len + 1,):
            raise Failure("tokens_invalid", f"{where} has {row.size} ids, not {seq_len + 1}")
        if row.min() < 0 or row.max() >= vocab:
            raise Failure("tokens_invalid", f"{where} holds ids outside the vocabulary of {vocab}")
        return row.astype(np.uint16)


def _shards_in_order(tokens: Path, summary: Summary, part: Part) -> Iterator[_Opened]:
    """The shards from the first to the last row that the run still reads."""
    first, last = part.first * part.batch, part.batches * part.batch
    number = first // summary.sequences
    start = number * summary.sequences
    while start < last:
        for shard in shard_order(summary, part.seed, number):
            if start + shard.num_sequences > first and start < last:
                opened = _opened(tokens, shard, part.verify)
                yield _Opened(shard, opened.content, opened.spans, start)
            start += shard.num_sequences
        number += 1


def _opened(tokens: Path, shard: RowShard, verify: bool) -> _Opened:
    """Reads a shard at once: what is used is then what was verified."""
    try:
        content = (tokens / shard.name).read_bytes()
    except FileNotFoundError:
        raise Failure(
            "artifact_corrupt", f"the shard {shard.name} is missing from {tokens}"
        ) from None
    if verify and hashlib.sha256(content).hexdigest() != shard.sha256:
        raise Failure("artifact_corrupt", f"the shard {shard.name} in {tokens} has changed")
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            spans = [(member.offset_data, member.size) for member in tar if member.isreg()]
    except tarfile.TarError as error:
        raise Failure("tokens_invalid", f"{shard.name} is no readable tar: {error}") from None
    if len(spans) != shard.num_sequences:
        raise Failure(
            "tokens_invalid", f"{shard.name} holds {len(spans)} rows, not {shard.num_sequences}"
        )
    return _Opened(shard, content, spans)


def _batches(shards: Iterator[_Opened], seq_len: int, part: Part) -> Iterator[Rows]:
    """Gathers this part's rows; a batch leaves only when all shards that it needs are verified."""
    opened = next(shards)
    for number in range(part.first, part.batches):
        rows = np.empty((len(part.rows), seq_len + 1), dtype=np.uint16)
        for place in range(part.batch):
            row = number * part.batch + place
            while row >= opened.start + len(opened.spans):
                opened = next(shards)
            if place in part.rows:
                rows[place - part.rows.start] = opened.row(row - opened.start, seq_len, part.vocab)
        yield rows


def _ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The same items, of which a thread keeps up to `depth` ready."""
    with ThreadPoolExecutor(1) as thread:
        pending = deque(thread.submit(next, items, None) for _ in range(depth))
        try:
            while (item := pending.popleft().result()) is not None:
                pending.append(thread.submit(next, items, None))
                yield item
        finally:
            thread.shutdown(wait=True, cancel_futures=True)
