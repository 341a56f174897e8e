"""Second pass of tokenising: every row, in an order over the whole dataset, into tars.

The order is drawn for row numbers; rows are read from where the first pass left them, so that one
output shard is in memory at a time and each is a task that may be run anywhere, and twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from submissions.codec import read
from submissions.failures import Failure
from submissions.job import write_json_atomically
from training_recipes.encoder import Ids
from training_recipes.packed_rows import RowShard, write_shard
from training_recipes.spill import ID_BYTES, Spilled

Order = npt.NDArray[np.uint32]  # of row numbers: 4 billion rows are 8.8 trillion tokens at 2,048


@dataclass(frozen=True)
class RowFiles:
    """The rows of a source: whole rows of each file, then those that the files' ends make together.

    Row numbers count through `paths` in their order; `starts[i]` is the first of file i, and the
    last entry the number of all.
    """

    paths: tuple[Path, ...]
    starts: tuple[int, ...]
    width: int  # ids in a row

    def __len__(self) -> int:
        return self.starts[-1]


def rows_of(spilled: Sequence[Spilled], folder: Path, width: int, name: str) -> RowFiles:
    """The rows of these shards, whose order does not matter: they are taken by hash.

    No row holds padding. The ids that fill no row at the end of each file are put together in
    `folder`/`name`, in the same order, and cut into rows too; what is left in the end is left out.
    """
    ordered = sorted(spilled, key=lambda done: done.sha256)
    ends = folder / name
    with ends.open("wb") as file:
        for done in ordered:
            whole = done.tokens // width * width * ID_BYTES
            with done.ids_path(folder).open("rb") as ids:
                ids.seek(whole)
                file.write(ids.read())
    paths = [*(done.ids_path(folder) for done in ordered), ends]
    counts = [path.stat().st_size // (width * ID_BYTES) for path in paths]
    return RowFiles(tuple(paths), (0, *np.cumsum(counts).tolist()), width)


def joined(sources: Sequence[RowFiles]) -> RowFiles:
    """The rows of several sources as one, numbered on in their order."""
    paths = tuple(path for rows in sources for path in rows.paths)
    counts = [end - start for rows in sources for start, end in pairwise(rows.starts)]
    return RowFiles(paths, (0, *np.cumsum(counts).tolist()), sources[0].width)


def whole_order(rows: int, seed: int) -> Order:
    """All row numbers once, shuffled."""
    order = np.arange(rows, dtype=np.uint32)
    np.random.Generator(np.random.Philox(seed)).shuffle(order)
    return order


def mixed_order(available: Sequence[int], wanted: Sequence[int], seed: int) -> Order:
    """`wanted[s]` rows of each source s, which has `available[s]`, shuffled together.

    Whole passes over a source come first; a drawn part of its rows makes up the rest. Numbers are
    those of `joined`.
    """
    parts = []
    start = 0
    for source, (have, want) in enumerate(zip(available, wanted, strict=True)):
        numbers = np.arange(start, start + have, dtype=np.uint32)
        passes, rest = divmod(want, have)
        np.random.Generator(np.random.Philox([seed, source])).shuffle(numbers)
        parts += [numbers] * passes + [numbers[:rest]]
        start += have
    order = np.concatenate(parts)
    np.random.Generator(np.random.Philox(seed)).shuffle(order)
    return order


def shares(weights: Sequence[float], rows: int) -> list[int]:
    """How many of `rows` each weight gets: rounded down, the largest remainders up."""
    exact = [weight * rows / sum(weights) for weight in weights]
    result = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda s: (result[s] - exact[s], s))
    for source in by_remainder[: rows - sum(result)]:
        result[source] += 1
    return result


@dataclass(frozen=True)
class ShuffleTask:
    """Write output shard `index`: the rows `order[first:end]`, read from `rows`."""

    index: int
    first: int
    end: int
    order: Path
    rows: RowFiles
    work: Path  # markers of finished shards
    output: Path


def shuffle_shard(task: ShuffleTask) -> RowShard:
    """Writes one tar, or returns what an earlier run wrote."""
    marker = task.work / f"shard-{task.index:08d}.json"
    if marker.exists():
        return read(RowShard, marker, code="artifact_corrupt", where=str(marker))
    numbers = np.load(task.order, mmap_mode="r")[task.first : task.end]
    rows = read_numbered(task.rows, np.array(numbers))
    written = write_shard(task.output, task.index, _as_json(rows))
    write_json_atomically(marker, written)
    return written


def read_numbered(rows: RowFiles, numbers: Order) -> Ids:
    """The rows of these numbers [n, width], in their order.

    They are read in the order in which they lie, each file opened once, and asked for beforehand,
    so that a disk can serve many at a time.
    """
    result = np.empty((len(numbers), rows.width), dtype="<u2")
    by_place = np.argsort(numbers, kind="stable")
    files = np.searchsorted(rows.starts, numbers[by_place], side="right") - 1
    row_bytes = rows.width * ID_BYTES
    for file in np.unique(files):
        mine = by_place[files == file]
        offsets = (numbers[mine].astype(np.int64) - rows.starts[file]) * row_bytes
        descriptor = os.open(rows.paths[file], os.O_RDONLY)
        try:
            for offset in offsets:
                os.posix_fadvise(descriptor, offset, row_bytes, os.POSIX_FADV_WILLNEED)
            for position, offset in zip(mine, offsets, strict=True):
                if os.preadv(descriptor, [result[position].data], offset) != row_bytes:
                    raise Failure("artifact_corrupt", f"{rows.paths[file]} is cut off")
        finally:
            os.close(descriptor)
    return result


def _as_json(rows: Ids) -> Iterator[bytes]:
    """Each row as a JSON list."""
    for row in rows:
        yield orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)
