"""What the steps did to documents: counts by step and reason, and examples of what they removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from submissions.curation.step import Document

EXAMPLES = 3  # of each step and reason
LONGEST_EXAMPLE = 500  # characters
MOST_REASONS = 100  # that a step may give; the rest is counted as one, so that no report bursts
MOST_SOURCES = 1_000


class Example(msgspec.Struct, frozen=True, order=True):
    """Something that a step removed; the examples with the smallest `mark` are kept.

    `mark` is a hash, so that they depend on no order and no number of workers.
    """

    mark: str
    shard: str
    line: int
    text: str


class Removed(msgspec.Struct):
    """What was removed for one reason: whole documents or pieces of them."""

    documents: int = 0
    pieces: int = 0
    examples: list[Example] = []

    def add_example(self, document: Document, shard: str, text: str) -> None:
        """Keeps it if its mark is among the smallest."""
        shown = text[:LONGEST_EXAMPLE]
        key = f"{shard} {document.line} {shown}".encode(errors="replace")
        mark = hashlib.blake2b(key, digest_size=8).hexdigest()
        if len(self.examples) < EXAMPLES or mark < self.examples[-1].mark:
            self.examples = sorted([*self.examples, Example(mark, shard, document.line, shown)])
            del self.examples[EXAMPLES:]

    def merge(self, other: Removed) -> None:
        """Adds what another shard gave."""
        self.documents += other.documents
        self.pieces += other.pieces
        self.examples = sorted([*self.examples, *other.examples])[:EXAMPLES]


class StepCounts(msgspec.Struct):
    """One step on some shards; `seconds` are of processor time, bytes those of the texts."""

    taken: int = 0
    dropped: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    reasons: dict[str, Removed] = {}

    def reason(self, name: str) -> Removed:
        """The counts of a reason, made if it is new."""
        if name not in self.reasons and len(self.reasons) >= MOST_REASONS:
            name = "other reasons"
        return self.reasons.setdefault(name, Removed())

    def merge(self, other: StepCounts) -> None:
        """Adds what another shard gave."""
        self.taken += other.taken
        self.dropped += other.dropped
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.seconds += other.seconds
        for name, removed in other.reasons.items():
            self.reason(name).merge(removed)


class SourceCounts(msgspec.Struct):
    """Documents of one source in the output; `generators` counts the synthetic ones by model."""

    documents: int = 0
    bytes: int = 0
    synthetic_documents: int = 0
    synthetic_bytes: int = 0
    generators: dict[str, int] = {}

    def add(self, document: Document, size: int) -> None:
        """Counts a document; synthetic is one whose key `synthetic` is true or names a model."""
        self.documents += 1
        self.bytes += size
        made_by = document.fields.get("synthetic")
        if made_by:
            self.synthetic_documents += 1
            self.synthetic_bytes += size
            name = made_by[:80] if isinstance(made_by, str) else "not named"
            if name not in self.generators and len(self.generators) >= MOST_REASONS:
                name = "others"
            self.generators[name] = self.generators.get(name, 0) + 1

    def merge(self, other: SourceCounts) -> None:
        """Adds what another shard gave."""
        self.documents += other.documents
        self.bytes += other.bytes
        self.synthetic_documents += other.synthetic_documents
        self.synthetic_bytes += other.synthetic_bytes
        for name, count in other.generators.items():
            self.generators[name] = self.generators.get(name, 0) + count


def merged_sources(all_of_them: Iterable[dict[str, SourceCounts]]) -> list[dict[str, Any]]:
    """The sources by name, each with its synthetic share of the bytes."""
    found: dict[str, SourceCounts] = {}
    for one in all_of_them:
        for name, counts in one.items():
            found.setdefault(name, SourceCounts()).merge(counts)
    return [
        {"name": name, **msgspec.to_builtins(counts),
         "synthetic_share": counts.synthetic_bytes / counts.bytes if counts.bytes else 0.0}
        for name, counts in sorted(found.items())
    ]  # fmt: skip
