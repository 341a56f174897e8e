"""Per-example records as one compact parquet file: kept when the folder of the run is gone.

The command line writes examples.jsonl; the score stage writes the same records in columns. Later
questions about a score (paired comparison, clean subsets, another metric version) read this
file. Source of the columns: evaluation/examples.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluation.examples import Example, read_examples
from submissions.failures import Failure
from submissions.files import placed_atomically

if TYPE_CHECKING:
    import pyarrow

RECORDS = "records.parquet"
BATCH = 50_000  # examples turned into columns at a time
# Log-probabilities are kept in float32: at a sum of −100 that rounds by 4e-6, and the outcomes
# have columns of their own.
FLOATS = ("option_logprobs.list.element", "margin")


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            pa.field("task", word, nullable=False),
            pa.field("index", pa.int32(), nullable=False),
            pa.field("category", word),
            pa.field("correct", pa.bool_(), nullable=False),
            pa.field("prediction", pa.int16()),
            pa.field("gold", pa.int16()),
            pa.field("option_logprobs", pa.list_(pa.float32())),
            pa.field("option_tokens", pa.list_(pa.int32())),
            pa.field("generated", pa.string()),
            pa.field("margin", pa.float32()),
        ]
    )


def write_records(path: Path, examples: Iterable[Example], suite_hash: str) -> int:
    """Writes the records, whole or not at all, and returns how many.

    The same records give the same bytes with the same version of pyarrow.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema().with_metadata({"suite_hash": suite_hash})
    count = 0
    with (
        placed_atomically(path, durable=False, one_writer=True) as partial,
        pq.ParquetWriter(
            partial,
            schema,
            compression="zstd",
            compression_level=9,
            use_dictionary=["task", "category"],
            use_byte_stream_split=list(FLOATS),
        ) as writer,
    ):
        for batch in _batches(examples):
            columns = {name: [getattr(e, name) for e in batch] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema))
            count += len(batch)
    return count


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for example in examples:
        batch.append(example)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def read_records(path: Path) -> list[Example]:
    """All records of a parquet file or of an examples.jsonl, in the file's order."""
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    return [Example(**row) for row in read_table(path).to_pylist()]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Four columns of n records: `task` and `category` are numbers into their names, −1 is none."""

    tasks: tuple[str, ...]
    categories: tuple[str, ...]
    task: NDArray[np.int64]
    index: NDArray[np.int64]
    category: NDArray[np.int64]
    correct: NDArray[np.bool_]


def read_outcomes(path: Path) -> Outcomes:
    """What statistics need of a parquet file or an examples.jsonl; `results_invalid` otherwise."""
    if path.suffix == ".jsonl":
        return outcomes_of(read_jsonl(path))
    table = read_table(path, ["task", "index", "category", "correct"])
    tasks, task = numbered(table.column("task"))
    categories, category = numbered(table.column("category"))
    index, _ = whole_numbers(table.column("index").combine_chunks())
    correct, _ = whole_numbers(table.column("correct").combine_chunks())
    return Outcomes(tasks, categories, task, index, category, correct.astype(np.bool_))


def outcomes_of(examples: Sequence[Example]) -> Outcomes:
    """The same of records in memory."""
    tasks = tuple(dict.fromkeys(e.task for e in examples))
    categories = tuple(dict.fromkeys(e.category for e in examples if e.category is not None))
    task_number = {name: number for number, name in enumerate(tasks)}
    number: dict[str | None, int] = {name: place for place, name in enumerate(categories)}
    number[None] = -1
    return Outcomes(
        tasks,
        categories,
        np.array([task_number[e.task] for e in examples], dtype=np.int64),
        np.array([e.index for e in examples], dtype=np.int64),
        np.array([number[e.category] for e in examples], dtype=np.int64),
        np.array([e.correct for e in examples], dtype=np.bool_),
    )


def numbered(column: Any) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """A column of words as names and numbers."""
    words = column.unify_dictionaries().combine_chunks()
    numbers, known = whole_numbers(words.indices)
    return tuple(words.dictionary.to_pylist()), np.where(known, numbers, -1)


def whole_numbers(array: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Whole numbers or bits of n rows, and which of them are no nulls.

    From Arrow's own layout: its `to_numpy` and `fill_null` import pandas, 45 MiB in each process.
    """
    rows = slice(array.offset, array.offset + len(array))
    valid, data = array.buffers()
    bits = str(array.type) == "bool"
    values = _bits(data) if bits else np.frombuffer(data, dtype=str(array.type))
    known = np.ones(len(array), np.bool_) if valid is None else _bits(valid)[rows].astype(np.bool_)
    return values[rows].astype(np.int64), known


def _bits(buffer: Any) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(buffer, dtype=np.uint8), bitorder="little")


def suite_hash_of(path: Path) -> str:
    """The hash of the suite that a parquet file of records answers."""
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, ValueError) as error:
        raise _unreadable(path) from error
    return bytes(metadata.get(b"suite_hash", b"")).decode()


def read_jsonl(path: Path) -> list[Example]:
    try:
        return read_examples(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path) from error


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise _unreadable(path) from error


def _unreadable(path: Path) -> Failure:
    return Failure("results_invalid", f"{path.name} does not hold the records of a run")
