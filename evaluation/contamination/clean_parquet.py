"""Writes a parquet shard again without some rows, as it was: columns, types, codecs, row groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from submissions.expansion import Expansion
from submissions.parquet import opened
from submissions.shards import LocalShard

MOST_HELD = 256 * 2**20  # bytes of a row group; a larger one is written as several


def write_parquet(shard: LocalShard, target: Path, texts: dict[int, str | None]) -> None:
    """Copies the shard with these rows (from 1) changed, or left out where the text is None.

    Raises what reading the shard raises.
    """
    import pyarrow.parquet as pq

    with opened(shard.path, shard.name, columns=()) as (table, rows):
        expansion = Expansion(shard.name, shard.bytes)
        schema, row = table.schema_arrow, 1
        with pq.ParquetWriter(target, schema, **_settings(table.metadata)) as writer:
            for group in range(table.metadata.num_row_groups):
                held: list[Any] = []
                for batch in table.iter_batches(rows, row_groups=[group]):
                    expansion.add(batch.nbytes, len(batch))
                    held.append(_changed(batch.cast(schema), row, texts))
                    row += len(batch)
                    if sum(one.nbytes for one in held) > MOST_HELD:
                        _write(writer, held, schema)
                        held = []
                _write(writer, held, schema)


def _settings(metadata: Any) -> dict[str, Any]:
    """Codec and use of a dictionary of every column, as the first row group has them."""
    if metadata.num_row_groups == 0:
        return {}
    group = metadata.row_group(0)
    chunks = [group.column(number) for number in range(metadata.num_columns)]
    codecs = {chunk.path_in_schema: chunk.compression.lower() for chunk in chunks}
    codecs = {path: "none" if name == "uncompressed" else name for path, name in codecs.items()}
    coded = [chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page]
    return {"compression": codecs, "use_dictionary": coded or False}


def _changed(batch: Any, first: int, texts: dict[int, str | None]) -> Any:
    """The batch, whose first row has this number, as it is kept."""
    import pyarrow as pa

    changed = texts.keys() & range(first, first + len(batch))
    if not changed:
        return batch
    place = batch.schema.get_field_index("text")
    column = batch.column(place).to_pylist()
    for row in changed:
        column[row - first] = texts[row]
    kind = batch.schema.field(place)
    array = pa.array(column, pa.large_string()).cast(kind.type)
    batch = batch.set_column(place, kind, array)
    return batch.filter(pa.array([text is not None for text in column]))


def _write(writer: Any, batches: list[Any], schema: Any) -> None:
    """Writes the batches as one row group, or nothing."""
    import pyarrow as pa

    rows = sum(map(len, batches))
    if rows:
        writer.write_table(pa.Table.from_batches(batches, schema), row_group_size=rows)
