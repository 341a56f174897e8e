"""The answers of a run so far, line by line, so that a killed run loses one batch at most.

One file a process, only ever appended to. A line names the work that it belongs to (the hash of
task, model, engine and settings). A line that a kill cut off is ignored, also when a later run has
written after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import msgspec

from evaluation.examples import Example, example_of
from submissions.codec import MisfitError, decode_or_misfit

PATTERN = "journal-*.jsonl"


class _Work(msgspec.Struct):
    work: str


class Journal:
    """The journal of process `rank` in a folder, with what all journals there held at the start."""

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.path = folder / f"journal-{rank}.jsonl"
        self._file: IO[str] | None = None

    def read(self, works: Iterable[str]) -> dict[str, dict[int, Example]]:
        """Each work's examples in all journals of the folder, by their row's number."""
        found: dict[str, dict[int, Example]] = {work: {} for work in works}
        for path in sorted(self.folder.glob(PATTERN)):
            with path.open("rb") as file:
                for line in file:
                    try:
                        work = decode_or_misfit(_Work, line).work
                        example = example_of(line)
                    except MisfitError:
                        continue
                    if work in found:
                        found[work][example.index] = example
        return found

    def add(self, work: str, examples: Iterable[Example]) -> None:
        """Appends examples, which then outlive this process."""
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
            self._file.write("\n")  # ends the torn line of a killed run
        for example in examples:
            line = {"work": work} | example.as_dict()
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def remove(self) -> None:
        """Removes all journals of the folder: everything in them has been kept elsewhere."""
        if self._file is not None:
            self._file.close()
            self._file = None
        for path in self.folder.glob(PATTERN):
            path.unlink()
