"""Counts what is distinct among lines, paragraphs or documents: exactly on disk, or by a sketch.

A worker writes sorted runs of 64-bit hashes with lengths; the runs of all workers are merged range
by range, so that memory does not grow. Where there are too many, the sketch alone answers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from submissions.files import placed_atomically
from submissions.profile.sketches import Hashes, Sketch, empty_sketch, merged, sketch_of

SKETCH = 50_000  # hashes that are kept of each kind
BUFFER = 2**20  # hashes that a worker holds before they become a run
PART_BYTES = 64 * 2**20  # of runs that are merged in memory at once
MARKER = "too-many"  # in the work folder: nobody writes runs any more


class DistinctPart(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker counted of one kind; the arrays lie in files beside it."""

    total: int
    characters: int
    runs: list[str]
    sketch: str


@dataclass(frozen=True)
class DistinctCount:
    """How many there are, how many of them repeat another, and the characters of those copies.

    `error` is the standard error of `surplus`, 0 where it was counted.
    """

    total: int
    surplus: int
    surplus_characters: int
    error: float


class DistinctCounter:
    """Collects hashes with lengths in characters, in a worker."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.hashes, self.lengths = array("Q"), array("Q")
        self.total = self.characters = 0
        self.runs: list[str] = []
        self.sketch = empty_sketch()

    def add(self, value: int, length: int) -> None:
        """One thing of that hash."""
        self.hashes.append(value)
        self.lengths.append(length)
        if len(self.hashes) >= BUFFER:
            self._flush()

    def extend(self, values: Iterable[int], lengths: Iterable[int]) -> None:
        """Several things by their hashes."""
        self.hashes.extend(values)
        self.lengths.extend(lengths)
        if len(self.hashes) >= BUFFER:
            self._flush()

    def finish(self) -> DistinctPart:
        """Writes what is left."""
        self._flush()
        sketch = f"{self.name}.sketch.npz"
        with placed_atomically(self.folder / sketch, durable=False) as partial:
            save_sketch(partial, self.sketch)
        return DistinctPart(
            total=self.total, characters=self.characters, runs=self.runs, sketch=sketch
        )

    def _flush(self) -> None:
        if not self.hashes:
            return
        hashes = np.array(self.hashes, dtype=np.uint64)
        lengths = np.array(self.lengths, dtype=np.int64)
        self.hashes, self.lengths = array("Q"), array("Q")
        self.total += len(hashes)
        self.characters += int(lengths.sum())
        self.sketch = merged([self.sketch, sketch_of(hashes, lengths, SKETCH)], SKETCH)
        if not (self.folder / MARKER).exists():
            found, first = np.unique(hashes, return_index=True)
            run = f"{self.name}.{len(self.runs)}.npy"
            np.save(self.folder / run, np.stack([found, lengths[first].astype(np.uint64)]))
            self.runs.append(run)


def count_distinct(
    parts: Sequence[DistinctPart], sketch: Sketch, folder: Path, *, exact: bool
) -> DistinctCount:
    """The count over all parts; `sketch` is their merged sketch."""
    total = sum(part.total for part in parts)
    characters = sum(part.characters for part in parts)
    if not exact and sketch.full:
        distinct, error = sketch.distinct
        distinct = min(distinct, float(total))
        kept = float(sketch.lengths.mean()) * distinct
        return DistinctCount(
            total, round(total - distinct), max(0, round(characters - kept)), error
        )
    if not sketch.full:
        kept_characters = int(sketch.lengths.sum())
        return DistinctCount(
            total, total - len(sketch.hashes), characters - kept_characters, 0.0
        )  # fmt: skip
    distinct_count, distinct_characters = _merge([folder / r for p in parts for r in p.runs])
    return DistinctCount(total, total - distinct_count, characters - distinct_characters, 0.0)


def _merge(paths: Sequence[Path]) -> tuple[int, int]:
    """Distinct hashes in sorted runs, and the sum of their lengths."""
    tables = [np.load(path, mmap_mode="r") for path in paths]
    parts = 1 + sum(table.nbytes for table in tables) // PART_BYTES
    bounds = np.array([part * 2**64 // parts for part in range(parts)], dtype=np.uint64)
    cuts = [[*np.searchsorted(table[0], bounds), table.shape[1]] for table in tables]
    count = characters = 0
    for part in range(parts):
        slices = [
            table[:, cut[part] : cut[part + 1]] for table, cut in zip(tables, cuts, strict=True)
        ]
        hashes, lengths = np.concatenate(slices, axis=1)
        found, first = np.unique(hashes, return_index=True)
        count += len(found)
        characters += int(lengths[first].sum())
    return count, characters


def save_sketch(path: Path, sketch: Sketch) -> None:
    """Writes a sketch as an .npz file."""
    with path.open("wb") as file:
        np.savez(file, hashes=sketch.hashes, copies=sketch.copies, lengths=sketch.lengths,
                 full=np.array([sketch.full]))  # fmt: skip


def load_sketch(path: Path) -> Sketch:
    """The sketch of a file that this module wrote; raises ValueError or OSError for another."""
    with np.load(path, allow_pickle=False) as arrays:
        hashes: Hashes = arrays["hashes"].astype(np.uint64)
        copies: NDArray[np.int64] = arrays["copies"].astype(np.int64)
        lengths: NDArray[np.int64] = arrays["lengths"].astype(np.int64)
        return Sketch(hashes, copies, lengths, bool(arrays["full"][0]))
