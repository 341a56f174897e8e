"""Prompts for synthetic data: every combination of the axes of a grid, or a draw of them.

    template = "Write a {style} about {topic} for {audience}.\\n\\n{seed}"
    most = 1000
    [axes]
    topic = ["tides", "compilers"]
    audience = ["children", "engineers"]
    style = ["story", "textbook section"]

The combinations are drawn by hash, so a larger `most` keeps all prompts of a smaller one. As in
Cosmopedia, what makes prompts differ is their topics and passages: the rate of near copies says it.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import orjson

from submissions.codec import convert
from submissions.curation.step import Document
from submissions.curation.steps.exact_duplicates import ExactDuplicates
from submissions.curation.steps.minhash_duplicates import MinHashDuplicates
from submissions.failures import Failure
from submissions.files import written_atomically

MOST = 1_000_000  # prompts
MOST_COMBINATIONS = 100_000_000
LONGEST_FILE = 64 * 2**20  # bytes
COMPARED = 20_000  # prompts of which the rate of copies is told


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A template with the names of axes in braces, and the values of each axis."""

    template: str
    axes: dict[str, list[str]]
    most: int = MOST
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            parts = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise ValueError(f"the template's braces do not fit: {error}") from None
        named = {name for _, name, _, _ in parts if name is not None}
        if named != set(self.axes):
            wrong = ", ".join(sorted(named ^ set(self.axes)))
            raise ValueError(f"template and axes must name the same; they differ in {wrong}")
        if any(form or conversion for _, _, form, conversion in parts):
            raise ValueError("the template may name axes in braces and nothing else there")
        for name, values in self.axes.items():
            if not values:
                raise ValueError(f"the axis {name} has no value")
        if not 1 <= self.most <= MOST:
            raise ValueError(f"most must be from 1 to {MOST:,}")
        if self.combinations > MOST_COMBINATIONS:
            raise ValueError(f"the axes have more than {MOST_COMBINATIONS:,} combinations")

    @property
    def combinations(self) -> int:
        """How many prompts the axes allow."""
        return math.prod(map(len, self.axes.values()))


class PromptDuplicates(msgspec.Struct, frozen=True):
    """Shares of the prompts that are copies, and near copies, of an earlier one."""

    exact: float
    near: float
    compared: int


class PromptReport(msgspec.Struct, frozen=True):
    """What was written."""

    prompts: int
    combinations: int
    axes: dict[str, int]
    duplicates: PromptDuplicates
    output: str


def write_prompts(grid_file: Path, output: Path) -> PromptReport:
    """Writes a line a prompt: `prompt`, and the values by axis. Raises `curation_invalid`."""
    grid = _grid_of(grid_file)
    chosen = (
        heapq.nsmallest(grid.most, _marked(grid))
        if grid.most < grid.combinations
        else (_marked(grid))
    )
    count = 0
    shown: list[Document] = []
    with written_atomically(output, "wb") as file:
        for _, values in chosen:
            named = dict(zip(grid.axes, values, strict=True))
            prompt = grid.template.format_map(named)
            file.write(orjson.dumps({"prompt": prompt, **named}, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
            if len(shown) < COMPARED:
                shown.append(Document(count, prompt))
    sizes = {name: len(values) for name, values in grid.axes.items()}
    return PromptReport(count, grid.combinations, sizes, duplicates_of(shown), str(output))


def duplicates_of(documents: list[Document]) -> PromptDuplicates:
    """The rates among these prompts, or among outputs of a model."""
    shares = []
    for step in (ExactDuplicates(), MinHashDuplicates()):
        kept = step.decide([step.observe(documents)]) if documents else []
        shares.append(1 - float(kept[0].mean()) if kept else 0.0)
    return PromptDuplicates(shares[0], shares[1], len(documents))


def _grid_of(path: Path) -> Grid:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
        if len(data) > LONGEST_FILE:
            raise Failure("curation_invalid", f"{path.name} is larger than 64 MiB")
        content = tomllib.loads(data.decode())
    except OSError as error:
        said = f"{path}: {(error.strerror or 'it cannot be read').lower()}"
        raise Failure("curation_invalid", said) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Failure("curation_invalid", f"{path.name} is not TOML: {error}") from None
    return convert(Grid, content, code="curation_invalid", where=path.name)


def _marked(grid: Grid) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Every combination with the hash that draws it."""
    key = str(grid.seed).encode()
    for values in itertools.product(*grid.axes.values()):
        data = "\0".join(values).encode()
        yield hashlib.blake2b(data, digest_size=16, key=key).digest(), values
