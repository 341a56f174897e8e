"""Reads the texts of a parquet shard, after its footer and page headers said that they fit.

A page can be written in a few bytes and ask for gigabytes, and so can a value that a million rows
point to. What a page header declares is all that Arrow allocates for it, so it is looked at first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from submissions.expansion import Expansion
from submissions.failures import Failure

# Bytes of decompressed pages that are held at once. Arrow puts 1,024 rows into a page, even if they
# are long, and needs a page twice: what it says, and the texts made of it.
MAX_PAGE = 256 * 2**20
LONGEST = 64 * 2**20  # bytes of a text, as of a line
ROWS, MAX_ROWS = 256, 64 * 2**20  # that are decoded together, and bytes of them at most
HEADER, LONGEST_HEADER = 2**12, 2**24  # bytes of a page header; it may hold the page's least value
CODED_COPIES = 4  # of a dictionary that are in memory where the column's type is one
LENGTH = 4  # bytes before each text of a page that say how long it is
DICTIONARY_PAGE = 2  # of the format's PageType
STRUCT, LISTS, STOP = 12, (9, 10), 0  # types of Thrift's compact protocol


@contextlib.contextmanager
def opened(
    path: Path, name: str, columns: tuple[str, ...] = ("text",)
) -> Iterator[tuple[Any, int]]:
    """The `ParquetFile` of a shard, and how many rows of it to read together.

    Its ends, column and pages are sound. Pages of these columns are looked at, of all where there
    are none. Raises `shard_empty`, `shard_corrupt`, `shard_truncated`, `text_missing`,
    `text_not_a_string`, `expands_too_much`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        try:
            _check_ends(file, name)
            # Mapped, because Arrow takes a column of a whole row group out of a file at once.
            with pa.memory_map(str(path)) as mapped, pq.ParquetFile(mapped) as table:
                _check_column(table.schema_arrow, name)
                coded = pa.types.is_dictionary(table.schema_arrow.field("text").type)
                yield table, _rows_together(table.metadata, file, name, columns, coded)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(name, error) from None


def declared(path: Path, name: str) -> tuple[int, int]:
    """What the footer says of the texts: their number, and about how many bytes they have.

    The bytes are those that the column takes without compression: fewer, where texts are repeated.
    Raises what `opened` raises, but for pages, which are not looked at.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        try:
            _check_ends(file, name)
            metadata = pq.read_metadata(file)
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            sizes = (
                group.column(number).total_uncompressed_size
                for group in groups
                for number in range(group.num_columns)
                if group.column(number).path_in_schema == "text"
            )
            rows = sum(group.num_rows for group in groups)
            return rows, max(sum(sizes) - LENGTH * rows, 0)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(name, error) from None


def texts(path: Path, name: str) -> Iterator[str | None]:
    """Every row's text in order, None for null; raises at the first that is not UTF-8."""
    row = 0
    with opened(path, name) as (table, rows):
        expansion = Expansion(name, path.stat().st_size)
        try:
            for batch in table.iter_batches(rows, columns=["text"]):
                for value in batch.column(0):
                    row += 1
                    if _bytes_of(value) > LONGEST:
                        said = f"the text is longer than {LONGEST / 2**20:g} MiB"
                        raise Failure("line_too_long", said, shard=name, line=row)
                    text: str | None = value.as_py()
                    expansion.add(len(text or ""), 1)
                    yield text
        except UnicodeDecodeError:
            raise Failure("not_utf8", "the text is not UTF-8", shard=name, line=row) from None


def _bytes_of(cell: Any) -> int:
    """The size of a text, without making one of it."""
    import pyarrow as pa

    # A column may be of a dictionary type by the schema that Arrow keeps in the file.
    value = cell.value if isinstance(cell, pa.DictionaryScalar) else cell
    return value.as_buffer().size if value is not None and value.is_valid else 0


def _damaged(name: str, error: Exception) -> Failure:
    """The refusal of a file that Arrow cannot read."""
    detail = str(error).partition("\n")[0][:200]
    said = f"the parquet data is damaged: {detail}"
    if "not yet implemented" in detail.lower():
        said = f"Arrow cannot read this parquet data: {detail}"
    return Failure("shard_corrupt", said, shard=name)


def _check_ends(file: IO[bytes], name: str) -> None:
    """A parquet file begins and ends with PAR1; a missing end is a copy that was broken off."""
    if not (start := file.read(4)):
        raise Failure("shard_empty", "the file is empty", shard=name)
    if start != b"PAR1":
        raise Failure("shard_corrupt", "the file is not parquet, whatever its name", shard=name)
    file.seek(-4, 2)
    if file.read(4) != b"PAR1" or file.tell() < 12:
        raise Failure("shard_truncated", "the parquet file's end is missing", shard=name)
    file.seek(0)


def _check_column(schema: Any, name: str) -> None:
    """Refuses a table without a column `text` of strings."""
    import pyarrow as pa

    if schema.names.count("text") != 1:
        columns = ", ".join(schema.names[:8]) or "none"
        raise Failure(
            "text_missing", f'there is no single column "text" (columns: {columns})', shard=name
        )
    kind = schema.field("text").type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    if not (types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)):
        raise Failure("text_not_a_string", f'the column "text" is {value}, not string', shard=name)


def _rows_together(
    metadata: Any, file: IO[bytes], name: str, columns: tuple[str, ...], coded: bool
) -> int:
    """How many rows fit into memory; refuses pages that are too large, by their headers.

    `coded`: the column is of a dictionary type, of which Arrow gives every batch the whole.
    """
    largest = 1
    budget = Expansion(name, os.fstat(file.fileno()).st_size)
    for group in range(metadata.num_row_groups):
        held = 0
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            if columns and chunk.path_in_schema not in columns:
                continue
            held += _held(chunk, file, name, budget, CODED_COPIES if coded else 1)
        largest = max(largest, held)
    if largest > MAX_PAGE:
        said = (
            f"the parquet file asks for {largest / 2**20:,.0f} MiB of memory for pages that are "
            f"read together and may take {MAX_PAGE / 2**20:g}: write it with fewer rows in a page "
            "(pyarrow: write_batch_size) or shorter texts"
        )
        raise Failure("expands_too_much", said, shard=name)
    # Each row may have a page of its own, or a value that is written once: none is larger.
    return max(min(ROWS, MAX_ROWS // largest), 1)


def _held(chunk: Any, file: IO[bytes], name: str, budget: Expansion, copies: int) -> int:
    """Bytes of a column chunk that are in memory at once: its dictionary and its largest page."""
    dictionary = largest = 0
    for kind, size in _pages(chunk, file, name):
        budget.add(size, 0)
        if kind == DICTIONARY_PAGE:
            dictionary += size
        else:
            largest = max(largest, size)
    return copies * dictionary + largest


def _pages(chunk: Any, file: IO[bytes], name: str) -> Iterator[tuple[int, int]]:
    """Kind and decompressed size of each page of a column chunk, from its headers."""
    starts = [chunk.data_page_offset]
    if chunk.dictionary_page_offset:
        starts.append(chunk.dictionary_page_offset)
    place, end = min(starts), min(starts) + chunk.total_compressed_size
    while place < end and chunk.num_values:
        fields, length = _page_header(file, place, name)
        decompressed, compressed = fields.get(2, -1), fields.get(3, -1)
        if decompressed < 0 or compressed < 0:
            said = "the parquet data is damaged: a page has no size"
            raise Failure("shard_corrupt", said, shard=name)
        yield fields.get(1, -1), decompressed
        place += length + compressed


def _page_header(file: IO[bytes], place: int, name: str) -> tuple[dict[int, int], int]:
    """The numbers in the page header at `place` by field, and its length in bytes."""
    size = HEADER
    while True:
        file.seek(place)
        data = file.read(size)
        try:
            fields, length = _struct(data, 0, 0)
        except (IndexError, RecursionError):
            if len(data) < size or size >= LONGEST_HEADER:
                said = "the parquet data is damaged: a page header has no end"
                raise Failure("shard_corrupt", said, shard=name) from None
            size *= 16
            continue
        return fields, length


def _struct(data: bytes, place: int, depth: int) -> tuple[dict[int, int], int]:
    """The numbers of a struct in Thrift's compact protocol by field, and where it ends."""
    if depth > 8:
        raise RecursionError
    fields: dict[int, int] = {}
    field = 0
    while (head := data[place]) & 0x0F != STOP:
        place += 1
        kind = head & 0x0F
        if head >> 4:
            field += head >> 4
        else:
            number, place = _varint(data, place)
            field = (number >> 1) ^ -(number & 1)
        value, place = _value(data, place, kind, depth)
        if value is not None:
            fields[field] = value
    return fields, place + 1


def _value(data: bytes, place: int, kind: int, depth: int) -> tuple[int | None, int]:
    """A field's value if it is a whole number, and where it ends."""
    if kind in (1, 2):  # true and false are written in the kind
        return None, place
    if kind == 3:
        return None, place + 1
    if kind in (4, 5, 6):
        number, place = _varint(data, place)
        return (number >> 1) ^ -(number & 1), place
    if kind == 7:
        return None, place + 8
    if kind == 8:
        length, place = _varint(data, place)
        return None, place + length
    if kind == STRUCT:
        return None, _struct(data, place, depth + 1)[1]
    if kind in LISTS:
        head = data[place]
        place += 1
        count = head >> 4
        if count == 15:
            count, place = _varint(data, place)
        for _ in range(count):
            _, place = _value(data, place, 3 if head & 0x0F in (1, 2) else head & 0x0F, depth + 1)
            data[place - 1]  # or a false count runs on for ever
        return None, place
    raise IndexError


def _varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80 or shift > 63:
            return number, place
        shift += 7
