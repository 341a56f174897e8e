"""The first pass: what is cheap enough to count over every document of a dataset.

Each shard is a task of its own that leaves its counts and sketches in a folder that all workers
share; nothing depends on the order of shards or on the number of workers.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import xxhash

from submissions.codec import read
from submissions.job import write_json_atomically
from submissions.profile.distinct import SKETCH, DistinctCounter, DistinctPart
from submissions.profile.sketches import Hashes, near_key, text_hash
from submissions.profile.texts import line_pieces
from submissions.shards import Shard, read_documents

NEAR = 50_000  # texts among which near copies are looked for
BUFFER = 2**17  # drawn texts that a worker holds before it keeps the smallest


@dataclass(frozen=True)
class CountTask:
    """Count one shard; `salt` is what the hashes of this profile are made with."""

    shard: Shard
    folder: Path
    salt: bytes

    @property
    def seed(self) -> int:
        """The salt for hashes that take a number."""
        return int.from_bytes(hashlib.blake2b(self.salt, digest_size=8).digest(), "little")


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """One shard's counts. `bytes` are of the texts as UTF-8; `lengths` counts documents by the bit
    length of their number of characters, from 0."""  # fmt: skip

    shard: str
    documents: int
    empty: int
    bytes: int
    lengths: list[int]
    longest: int
    texts: DistinctPart
    lines: DistinctPart
    paragraphs: DistinctPart
    near: str
    near_full: bool


def count_shard(task: CountTask) -> Counted:
    """Reads a whole shard, or returns what an earlier run counted of the very same file.

    Raises what `read_documents` raises at the first malformed document.
    """
    name = hashlib.sha256(f"{task.shard.identity}\n{task.shard.stamp}".encode()).hexdigest()[:24]
    marker = task.folder / f"{name}.json"
    if marker.exists():
        return read(Counted, marker, code="artifact_corrupt", where=str(marker))
    with task.shard.fetched(task.folder) as local:
        counter = _Counter(task, name)
        for document in read_documents(local):
            counter.add(document.text)
    done = counter.finish()
    write_json_atomically(marker, done)
    return done


class _Counter:
    """The figures of one shard while it is read."""

    def __init__(self, task: CountTask, name: str) -> None:
        self.task, self.name, self.seed = task, name, task.seed
        self.documents = self.empty = self.bytes = self.longest = 0
        self.lengths: Counter[int] = Counter()
        self.texts = DistinctCounter(task.folder, f"{name}.texts")
        self.lines = DistinctCounter(task.folder, f"{name}.lines")
        self.paragraphs = DistinctCounter(task.folder, f"{name}.paragraphs")
        self.drawn = NearDraw()

    def add(self, text: str) -> None:
        """Takes one document into account."""
        size = len(text)
        self.documents += 1
        self.empty += not text.strip()
        self.bytes += size if text.isascii() else _utf8_bytes(text)
        self.lengths[size.bit_length()] += 1
        self.longest = max(self.longest, size)
        value = text_hash(text, self.task.salt)
        self.texts.add(value, size)
        self.drawn.add(near_key(text, self.seed), value)
        self._add_lines(text)

    def _add_lines(self, text: str) -> None:
        """Lines and paragraphs, each by its hash."""
        hashed, seed = xxhash.xxh3_64_intdigest, self.seed
        for stripped in line_pieces(text):
            values = [hashed(line, seed) if line else 0 for line in stripped]
            lengths = list(map(len, stripped))
            self._add_paragraphs(values, lengths)
            self.lines.extend(filter(None, values), filter(None, lengths))

    def _add_paragraphs(self, values: list[int], lengths: list[int]) -> None:
        """Runs of lines that are not empty (hash 0), by the hash of their lines' hashes."""
        data = array("Q", values).tobytes()
        start = 0
        while start < len(values):
            try:
                end = values.index(0, start)
            except ValueError:
                end = len(values)
            if end > start:
                value = xxhash.xxh3_64_intdigest(data[8 * start : 8 * end], self.seed)
                self.paragraphs.add(value, sum(lengths[start:end]))
            start = end + 1

    def finish(self) -> Counted:
        """The counts, with their arrays written."""
        near = f"{self.name}.near.npy"
        np.save(self.task.folder / near, self.drawn.pairs())
        return Counted(
            shard=self.task.shard.name,
            documents=self.documents,
            empty=self.empty,
            bytes=self.bytes,
            lengths=[self.lengths[bits] for bits in range(max(self.lengths, default=0) + 1)],
            longest=self.longest,
            texts=self.texts.finish(),
            lines=self.lines.finish(),
            paragraphs=self.paragraphs.finish(),
            near=near,
            near_full=self.drawn.full,
        )


class NearDraw:
    """The NEAR distinct texts whose keys (near_key) are smallest, so that near copies come along.

    `full`: there were more.
    """

    def __init__(self) -> None:
        self.keys, self.hashes = array("Q"), array("Q")
        self.kept: Hashes = np.empty((2, 0), np.uint64)
        self.limit = 2**64 - 1  # the largest key that can still be drawn
        self.full = False

    def add(self, key: int, value: int) -> None:
        """One text by its key and its hash."""
        if key <= self.limit:
            self.keys.append(key)
            self.hashes.append(value)
            if len(self.keys) >= BUFFER:
                self.pairs()

    def add_all(self, pairs: Hashes, full: bool) -> None:
        """The pairs of another draw."""
        self.full = self.full or full
        self._keep(np.concatenate([self.kept, pairs], axis=1))

    def pairs(self) -> Hashes:
        """Keys and hashes, shape (2, n), in ascending order of both."""
        added = np.array([self.keys, self.hashes], dtype=np.uint64).reshape(2, -1)
        self.keys, self.hashes = array("Q"), array("Q")
        self._keep(np.concatenate([self.kept, added], axis=1))
        return self.kept

    def _keep(self, pairs: Hashes) -> None:
        found = np.unique(pairs, axis=1)
        self.full = self.full or found.shape[1] > NEAR
        self.kept = found[:, :NEAR]
        if self.full:
            self.limit = int(self.kept[0, -1])


def merged_draw(parts: Sequence[Counted], folder: Path) -> NearDraw:
    """The draw over all shards; of a full one the others' rest can only be larger."""
    draw = NearDraw()
    for part in parts:
        draw.add_all(np.load(folder / part.near, allow_pickle=False), part.near_full)
    return draw


def _utf8_bytes(text: str) -> int:
    """The size of a text as UTF-8, without a second copy of all of it."""
    piece = SKETCH * 16
    return sum(len(text[at : at + piece].encode()) for at in range(0, len(text), piece))
