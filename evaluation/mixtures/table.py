"""Reads the tables of the mixture lab: one line a run, its proportions (mix_*) and losses (loss_*).

A table is hostile input: its size is bounded before it is read, and every cell that is used must be
a finite number. A fault of the table is `runs_invalid` with the file, and with the line if one is
at fault.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.mixtures.laws import Floats
from submissions.failures import Failure

MAX_BYTES = 16 * 2**20
MAX_ROWS = 10_000
MAX_CELLS = 2_000_000
MAX_DOMAINS = 100
MAX_COLUMNS = 1_000
MIX, LOSS = "mix_", "loss_"
REST = "(rest)"
# Public tables round proportions, and their sums lie in here: they are renormalised.
LOWEST_SUM, HIGHEST_SUM = 0.996, 1.003
EXACT_SUM = 1e-6


@dataclass(frozen=True)
class Row:
    """One line of a table; `line` counts from 1, the header's."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table as it is written; `sha256` is that of the file's bytes."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    sha256: str

    def wrong(self, said: str, row: Row | None = None) -> Failure:
        """A failure at this table."""
        return Failure(
            "runs_invalid", said, shard=self.name, line=None if row is None else row.line
        )


@dataclass(frozen=True)
class Mixtures:
    """Proportions [n, M] that sum to one exactly, of the domains in this order."""

    domains: tuple[str, ...]
    values: Floats
    renormalised: int  # rows whose sum was not one


@dataclass(frozen=True)
class Runs:
    """Trained mixtures [n, M] with their losses in nats [n, T]."""

    mixtures: Mixtures
    targets: tuple[str, ...]
    losses: Floats
    data_hash: str
    notes: tuple[str, ...] = ()  # what was left out or chosen, in sentences

    @property
    def domains(self) -> tuple[str, ...]:
        return self.mixtures.domains


def read_table(path: Path) -> Table:
    """A CSV file with a header, in UTF-8. Raises `dataset_missing` and `runs_invalid`."""
    content = _content(path)
    lines = _lines(path, content)
    if not lines or not 1 <= len(lines[0]) <= MAX_COLUMNS or len(lines) - 1 > MAX_ROWS:
        said = f"a table has a header, up to {MAX_COLUMNS:,} columns and {MAX_ROWS:,} rows"
        raise Failure("runs_invalid", said, shard=path.name)
    columns = tuple(name.strip() for name in lines[0])
    table = Table(path.name, columns, (), hashlib.sha256(content).hexdigest())
    if len(set(columns)) < len(columns):
        double = next(name for name in columns if columns.count(name) > 1)
        raise table.wrong(f"two columns are called {double}")
    rows = []
    for line, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        row = Row(line, dict(zip(columns, (cell.strip() for cell in cells), strict=False)))
        if len(cells) != len(columns):
            raise table.wrong(f"the row has {len(cells)} cells, and the header {len(columns)}", row)
        rows.append(row)
    if not rows:
        raise table.wrong("the table has no rows")
    return Table(path.name, columns, tuple(rows), table.sha256)


def _content(path: Path) -> bytes:
    """The bytes of the file, bounded."""
    if not path.is_file():
        raise Failure("dataset_missing", f"there is no file {path}")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Failure("runs_invalid", "the table is larger than 16 MiB", shard=path.name)
    return content


def _lines(path: Path, content: bytes) -> list[list[str]]:
    """The cells of each line, one line more than allowed at most."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        lines, cells = [], 0
        for line in itertools.islice(reader, MAX_ROWS + 2):
            cells += len(line)
            if cells > MAX_CELLS:
                said = f"the table has more than {MAX_CELLS:,} cells"
                raise Failure("runs_invalid", said, shard=path.name)
            lines.append(line)
        return lines
    except UnicodeDecodeError:
        raise Failure("runs_invalid", "the table is not UTF-8", shard=path.name) from None
    except csv.Error as error:
        said = f"the table is not CSV: {error}"
        raise Failure("runs_invalid", said, shard=path.name) from None


def columns_of(table: Table, named: Sequence[str] | None, prefix: str) -> dict[str, str]:
    """What the user calls each domain or target, and its column.

    Without names all columns of the prefix, by their whole name; a name may leave the prefix out.
    """
    if named is None:
        found = {name: name for name in table.columns if name.startswith(prefix)}
        if not found:
            raise table.wrong(f"no column begins with {prefix}: name the columns")
        return found
    if len(set(named)) < len(named):
        raise table.wrong("a column is named twice")
    found = {}
    for name in named:
        column = name if name in table.columns else prefix + name
        if column not in table.columns:
            raise table.wrong(f'there is no column "{name}" or "{prefix + name}"')
        found[name] = column
    return found


def with_rest(table: Table, domains: dict[str, str]) -> tuple[Table, dict[str, str]]:
    """A table of one domain's shares, with a second column for all the rest."""
    ((name, column),) = domains.items()
    rows = tuple(
        Row(row.line, row.cells | {REST: repr(1 - _number(table, row, column))})
        if row.cells[column]
        else Row(row.line, row.cells | {REST: ""})
        for row in table.rows
    )
    return Table(table.name, (*table.columns, REST), rows, table.sha256), {name: column, REST: REST}


def mixtures_of(table: Table, domains: dict[str, str]) -> Mixtures:
    """The proportions of every row, renormalised where their sum is 0.996 to 1.003."""
    if len(domains) < 2:
        raise table.wrong("a mixture has two domains or more")
    if len(domains) > MAX_DOMAINS:
        raise table.wrong(f"{len(domains)} domains, and {MAX_DOMAINS} are allowed")
    values = np.empty((len(table.rows), len(domains)))
    renormalised = 0
    for number, row in enumerate(table.rows):
        for place, column in enumerate(domains.values()):
            values[number, place] = _number(table, row, column)
            if values[number, place] < 0:
                raise table.wrong(f"the proportion {column} is negative", row)
        total = math.fsum(values[number])
        if not LOWEST_SUM - 1e-9 <= total <= HIGHEST_SUM + 1e-9:
            raise table.wrong(f"the proportions sum to {total:.6g}, not to 1", row)
        renormalised += abs(total - 1) > EXACT_SUM
        values[number] /= total
    return Mixtures(tuple(domains), values, renormalised)


def runs_of(table: Table, domains: dict[str, str], targets: dict[str, str]) -> Runs:
    """The runs of a table of which every row is one; see `chosen` for tables of several scales."""
    both = set(domains.values()) & set(targets.values())
    if both:
        raise table.wrong(f"{min(both)} is named both as a domain and as a target")
    mixtures = mixtures_of(table, domains)
    losses = np.empty((len(table.rows), len(targets)))
    for number, row in enumerate(table.rows):
        for place, column in enumerate(targets.values()):
            losses[number, place] = _number(table, row, column)
            if losses[number, place] <= 0:
                raise table.wrong(f"the loss {column} is not above 0", row)
    return Runs(mixtures, tuple(targets), losses, table.sha256, renormalised_note(mixtures))


def renormalised_note(mixtures: Mixtures) -> tuple[str, ...]:
    """A sentence where sums were not one."""
    if not mixtures.renormalised:
        return ()
    rows = len(mixtures.values)
    return (
        f"{mixtures.renormalised} of {rows} rows do not sum to 1 but to between {LOWEST_SUM} and "
        f"{HIGHEST_SUM}, as rounded tables do: they were renormalised",
    )


def _number(table: Table, row: Row, column: str) -> float:
    """The finite number in a cell."""
    text = row.cells[column]
    try:
        value = float(text)
    except ValueError:
        said = f"{column} is empty" if not text else f"{column} is no number: {text[:40]!r}"
        raise table.wrong(f"{said}; fill it in or remove the row", row) from None
    if not math.isfinite(value):
        raise table.wrong(f"{column} is {text[:40]}; a run needs a finite number", row)
    return value
