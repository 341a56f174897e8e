"""Checks a dataset as handed in: every document of every shard, before any compute is spent.

The same function stands behind `crucible check` and behind the `validate` stage.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from submissions.dataset import Dataset, find_dataset
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.progress import Progress, no_progress
from submissions.shards import LocalShard, Shard, read_documents
from submissions.states import Fault, Track

MAX_PROBLEMS = 20  # shards that are reported as bad before the check stops looking
# Bytes a token differ between texts by about this factor, so a dataset is only refused here when it
# is surely too small; the tokenize stage counts exactly.
ESTIMATE_SLACK = 1.2
DOCUMENTS_A_LINE = 10_000  # documents between two signs of life within one shard


@dataclass(frozen=True)
class CheckedShard:
    """One shard's figures: `bytes` as on disk, `text_bytes` of its texts as UTF-8."""

    name: str
    sha256: str
    bytes: int
    documents: int
    text_bytes: int


@dataclass(frozen=True)
class CheckedSource:
    """The figures of one source of a mixture, and how often training would go through it."""

    name: str
    weight: float
    shards: int
    documents: int
    bytes: int
    text_bytes: int
    tokens_estimate: int
    epochs_estimate: float | None


@dataclass
class Report:
    """What a check found; `problems` holds the first problem of each bad shard.

    `manifest_sha256` is the dataset's hash. It, `epochs_estimate` and `sources` stay empty where
    there is a bad shard: they would not be of this dataset.
    """

    shards: list[CheckedShard] = field(default_factory=list)
    problems: list[Failure] = field(default_factory=list)
    tokens_estimate: int = 0
    epochs_estimate: float | None = None
    sources: list[CheckedSource] = field(default_factory=list)
    manifest_sha256: str = ""

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def documents(self) -> int:
        return sum(shard.documents for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Size of the sound shards as they are stored."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def text_bytes(self) -> int:
        """Size of all texts as UTF-8, without JSON and compression."""
        return sum(shard.text_bytes for shard in self.shards)

    def as_dict(self) -> dict[str, Any]:
        """The document that `crucible check --json` prints."""
        keys = ("code", "shard", "line", "message")
        return {
            "ok": self.ok,
            "documents": self.documents,
            "bytes": self.bytes,
            "text_bytes": self.text_bytes,
            "tokens_estimate": self.tokens_estimate,
            "epochs_estimate": self.epochs_estimate,
            "manifest_sha256": self.manifest_sha256,
            "shards": [asdict(shard) for shard in self.shards],
            "sources": [asdict(source) for source in self.sources],
            "problems": [
                {key: problem.as_dict()[key] for key in keys} for problem in self.problems
            ],
        }


def check_dataset(
    paths: Sequence[str | Path],
    *,
    track: str,
    scale: str,
    tokens_needed: int,
    bytes_per_token: float,
    max_epochs: int,
    progress: Progress = no_progress,
) -> Report:
    """Reads the whole dataset and reports its figures and the first problem of each bad shard.

    `scale` is only named in messages; `tokens_needed` is what it trains on, `bytes_per_token` the
    average by which tokens are estimated from `text_bytes`, and `max_epochs` how often training may
    go through a source at most. Raises `unknown_track`, what `find_dataset` raises when there is
    nothing to look at, `mixture_invalid` for a mixture outside the mixing track, and what the
    platform is to blame for, such as `storage_unreachable`.
    """
    check_track(track)
    dataset = find_dataset(paths)
    check_track_of(dataset, track)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="crucible-check-") as scratch:
        _check_shards(dataset.shards, Path(scratch), report, progress)
    report.tokens_estimate = round(report.text_bytes / bytes_per_token)
    # With a bad shard the count is incomplete, and to say "too small" as well would be a guess.
    if report.ok:
        hash_of = {shard.name: shard.sha256 for shard in report.shards}
        report.manifest_sha256 = dataset.sha256(hash_of)
        report.epochs_estimate = _epochs(tokens_needed, report.tokens_estimate)
        report.sources = _checked_sources(dataset, report, tokens_needed, bytes_per_token)
        report.problems += _too_small(report, scale, tokens_needed, max_epochs)
    return report


def _checked_sources(
    dataset: Dataset, report: Report, tokens_needed: int, bytes_per_token: float
) -> list[CheckedSource]:
    """The figures by source; an empty list without weights."""
    checked = {shard.name: shard for shard in report.shards}
    sources = []
    for source in dataset.sources:
        if source.weight is None:
            continue
        own = [checked[shard.name] for shard in source.shards]
        text_bytes = sum(shard.text_bytes for shard in own)
        tokens = round(text_bytes / bytes_per_token)
        figures = CheckedSource(
            name=source.name,
            weight=source.weight,
            shards=len(own),
            documents=sum(shard.documents for shard in own),
            bytes=sum(shard.bytes for shard in own),
            text_bytes=text_bytes,
            tokens_estimate=tokens,
            epochs_estimate=_epochs(source.weight * tokens_needed, tokens),
        )
        sources.append(figures)
    return sources


def _epochs(tokens_needed: float, tokens: int) -> float | None:
    """How often that many tokens are read; None where there are none to read."""
    return round(tokens_needed / tokens, 4) if tokens else None


def _too_small(
    report: Report, scale: str, tokens_needed: int, max_epochs: int
) -> Iterator[Failure]:
    """A problem for the dataset, or for each source, that would be repeated too often."""
    rule = f"and documents may be read {max_epochs} times at most"
    available = report.tokens_estimate * ESTIMATE_SLACK * max_epochs
    if not report.sources and available < tokens_needed:
        said = (
            f"the dataset holds about {report.tokens_estimate:,} tokens, "
            f"but scale {scale} trains on {tokens_needed:,}, {rule}"
        )
        yield Failure("dataset_too_small", said)
    for source in report.sources:
        needed = source.weight * tokens_needed
        if source.tokens_estimate * ESTIMATE_SLACK * max_epochs < needed:
            said = (
                f'the source "{source.name}" holds about {source.tokens_estimate:,} tokens, but at '
                f"weight {source.weight:g} scale {scale} takes {needed:,.0f} of it, {rule}"
            )
            yield Failure("dataset_too_small", said)


def check_track(track: str) -> None:
    """Raises `unknown_track` for a track that there is not."""
    if track not in list(Track):
        raise Failure("unknown_track", f"there is no track {track}")


def check_track_of(dataset: Dataset, track: str) -> None:
    """Raises `mixture_invalid` for a mixture outside the mixing track."""
    if dataset.weighted and track != Track.MIXING:
        said = f"a mixture belongs to the mixing track, and this is the {track} track"
        raise Failure("mixture_invalid", said)


def _check_shards(
    shards: Sequence[Shard], scratch: Path, report: Report, progress: Progress
) -> None:
    """Fills the report; stops looking after `MAX_PROBLEMS` bad shards."""
    for index, shard in enumerate(shards):
        progress(index, len(shards), "shard", shard.name)
        try:
            with shard.fetched(scratch) as local:
                report.shards.append(_check_shard(local, index, len(shards), progress))
        except Failure as problem:
            if problem.fault == Fault.INFRASTRUCTURE:
                raise
            report.problems.append(problem)
            if len(report.problems) == MAX_PROBLEMS:
                return
    progress(len(shards), len(shards), "shard", "checked", documents=report.documents)


def _check_shard(shard: LocalShard, index: int, of: int, progress: Progress) -> CheckedShard:
    """Reads every document of one shard, then hashes the file."""
    documents = text_bytes = 0
    for document in read_documents(shard):
        documents += 1
        text = document.text
        text_bytes += len(text) if text.isascii() else len(text.encode())
        if documents % DOCUMENTS_A_LINE == 0:
            progress(index, of, "shard", shard.name, documents=documents)
    return CheckedShard(shard.name, file_sha256(shard.path), shard.bytes, documents, text_bytes)
