"""Checks a dataset as handed in: every document of every shard, before any compute is spent.

The same function stands behind `crucible check` and behind the `validate` stage.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from submissions.check_kept import CheckedShard, CheckedSoFar
from submissions.dataset import Dataset, find_dataset
from submissions.failures import Failure
from submissions.most_data import MULTIPLE, MostData
from submissions.progress import Progress, no_progress
from submissions.shards import OpenShard, read_documents
from submissions.states import Fault, Track
from submissions.token_sample import CountTokens, Tokens, TokenSample

MAX_PROBLEMS = 20  # shards that are reported as bad before the check stops looking
PROGRESS_EVERY_DOCUMENTS = 10_000  # within one shard


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
    tokens_error: int | None = None  # results of older releases have none


@dataclass
class Report:
    """What a check found; `problems` holds the first problem of each bad shard.

    `tokens_error` is the standard error of `tokens_estimate`, None where nothing was tokenised.
    `manifest_sha256` is the dataset's hash. It, `epochs_estimate` and `sources` stay empty where
    there is a bad shard: they would not be of this dataset.
    """

    shards: list[CheckedShard] = field(default_factory=list)
    problems: list[Failure] = field(default_factory=list)
    tokens_estimate: int = 0
    tokens_error: int | None = None
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
            "tokens_error": self.tokens_error,
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
    multiple: int = MULTIPLE,
    count_tokens: CountTokens | None = None,
    progress: Progress = no_progress,
    kept: Path | None = None,
) -> Report:
    """Reads the whole dataset and reports its figures and the first problem of each bad shard.

    `scale` is only named in messages; `tokens_needed` is what it trains on, and `max_epochs` how
    often training may go through a source at most; the dataset may hold `multiple` times what
    it trains on. Tokens are estimated from a sample of each
    source by `count_tokens`; where the tokenizer is not at hand, by the average `bytes_per_token`.
    With the file `kept`, a check that was killed continues after the shards that it had read.
    A dataset is only refused as too small when it surely is: the tokenize stage counts. Raises
    `unknown_track`, what `find_dataset` raises when there is nothing to look at, `mixture_invalid`
    for a mixture outside the mixing track, and what the platform is to blame for, such as
    `storage_unreachable`.
    """
    check_track(track)
    dataset = find_dataset(paths)
    check_track_of(dataset, track)
    report = Report()
    most = MostData.of(scale, tokens_needed, bytes_per_token, multiple)
    try:
        most.check_unread(dataset.shards)
    except Failure as problem:
        report.problems.append(problem)
        return report
    with tempfile.TemporaryDirectory(prefix="crucible-check-") as scratch:
        samples = _check_shards(dataset, Path(scratch), report, most, progress, kept)
    tokens = {name: one.tokens(count_tokens, bytes_per_token) for name, one in samples.items()}
    report.tokens_estimate = sum(one.estimate for one in tokens.values())
    errors = [one.error for one in tokens.values() if one.error is not None]
    report.tokens_error = math.ceil(math.hypot(*errors)) if errors else None
    # With a bad shard the count is incomplete, and to say "too small" as well would be a guess.
    if report.ok:
        hash_of = {shard.name: shard.sha256 for shard in report.shards}
        report.manifest_sha256 = dataset.sha256(hash_of)
        report.epochs_estimate = _epochs(tokens_needed, report.tokens_estimate)
        report.sources = _checked_sources(dataset, report, tokens_needed, tokens)
        report.problems += _too_small(report, scale, tokens_needed, max_epochs, tokens)
        report.problems += _too_large(most, tokens)
    return report


def _checked_sources(
    dataset: Dataset, report: Report, tokens_needed: int, tokens: Mapping[str, Tokens]
) -> list[CheckedSource]:
    """The figures by source; an empty list without weights."""
    checked = {shard.name: shard for shard in report.shards}
    sources = []
    for source in dataset.sources:
        if source.weight is None:
            continue
        own = [checked[shard.name] for shard in source.shards]
        text_bytes = sum(shard.text_bytes for shard in own)
        figures = CheckedSource(
            name=source.name,
            weight=source.weight,
            shards=len(own),
            documents=sum(shard.documents for shard in own),
            bytes=sum(shard.bytes for shard in own),
            text_bytes=text_bytes,
            tokens_estimate=tokens[source.name].estimate,
            tokens_error=tokens[source.name].error,
            epochs_estimate=_epochs(source.weight * tokens_needed, tokens[source.name].estimate),
        )
        sources.append(figures)
    return sources


def _epochs(tokens_needed: float, tokens: int) -> float | None:
    """How often that many tokens are read; None where there are none to read."""
    return round(tokens_needed / tokens, 4) if tokens else None


def _too_small(
    report: Report, scale: str, tokens_needed: int, max_epochs: int, tokens: Mapping[str, Tokens]
) -> Iterator[Failure]:
    """A problem for the dataset, or for each source, that would be repeated too often."""
    rule = f"and documents may be read {max_epochs} times at most"
    available = sum(one.most for one in tokens.values()) * max_epochs
    if not report.sources and available < tokens_needed:
        said = (
            f"the dataset holds about {report.tokens_estimate:,} tokens, "
            f"but scale {scale} trains on {tokens_needed:,}, {rule}"
        )
        yield Failure("dataset_too_small", said)
    for source in report.sources:
        needed = source.weight * tokens_needed
        if tokens[source.name].most * max_epochs < needed:
            said = (
                f'the source "{source.name}" holds about {source.tokens_estimate:,} tokens, but at '
                f"weight {source.weight:g} scale {scale} takes {needed:,.0f} of it, {rule}"
            )
            yield Failure("dataset_too_small", said)


def _too_large(most: MostData, tokens: Mapping[str, Tokens]) -> Iterator[Failure]:
    """A problem for a dataset that surely has too many tokens."""
    try:
        most.check(tokens=int(sum(one.least for one in tokens.values())))
    except Failure as problem:
        yield problem


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
    dataset: Dataset,
    scratch: Path,
    report: Report,
    most: MostData,
    progress: Progress,
    kept: Path | None,
) -> dict[str, TokenSample]:
    """Fills the report, and a sample by source.

    Stops looking after `MAX_PROBLEMS` bad shards, and once the dataset has too much.
    """
    shards = dataset.shards
    samples = {source.name: TokenSample(source.name) for source in dataset.sources}
    source_of = {shard.name: source.name for source in dataset.sources for shard in source.shards}
    so_far = CheckedSoFar(kept, shards)
    report.shards += so_far.load(samples)
    for index, shard in enumerate(shards[len(report.shards) :], start=len(report.shards)):
        progress(index, len(shards), "shard", shard.name)
        try:
            with shard.streamed(scratch) as opened:
                sample = samples[source_of[shard.name]]
                report.shards.append(
                    _check_shard(opened, sample, report, most, (index, len(shards)), progress)
                )
        except Failure as problem:
            if problem.fault == Fault.INFRASTRUCTURE:
                raise
            report.problems.append(problem)
            if len(report.problems) == MAX_PROBLEMS or problem.code == "dataset_too_large":
                return samples
        if not report.problems:  # with one the dataset is refused, however often it is read
            so_far.save(report.shards, samples)
    progress(len(shards), len(shards), "shard", "checked", documents=report.documents)
    return samples


def _check_shard(
    shard: OpenShard,
    sample: TokenSample,
    before: Report,
    most: MostData,
    place: tuple[int, int],
    progress: Progress,
) -> CheckedShard:
    """Reads every document of one shard, then hashes the file; `before`: the shards before it."""
    documents = text_bytes = 0
    most.check_unread([shard])  # the footer of one that lay elsewhere
    earlier, earlier_bytes = before.documents, before.text_bytes
    for document in read_documents(shard):
        documents += 1
        text = document.text
        size = len(text) if text.isascii() else len(text.encode())
        text_bytes += size
        most.check(documents=earlier + documents, text=earlier_bytes + text_bytes)
        sample.add(text, size)
        if documents % PROGRESS_EVERY_DOCUMENTS == 0:
            progress(*place, "shard", shard.name, documents=documents)
    return CheckedShard(shard.name, shard.sha256(), shard.bytes, documents, text_bytes)
