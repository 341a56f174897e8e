"""Checks a dataset as handed in: every document of every shard, before any compute is spent.

The same function stands behind `crucible check` and behind the `validate` stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256
from submissions.progress import Progress, no_progress
from submissions.shards import Shard, find_shards, read_documents

TRACKS = ("filtering", "mixing")
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


@dataclass
class Report:
    """What a check found; `problems` holds the first problem of each bad shard."""

    shards: list[CheckedShard] = field(default_factory=list)
    problems: list[Failure] = field(default_factory=list)
    tokens_estimate: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def documents(self) -> int:
        return sum(shard.documents for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Size of the sound shards as they lie on disk."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def text_bytes(self) -> int:
        """Size of all texts as UTF-8, without JSON and compression."""
        return sum(shard.text_bytes for shard in self.shards)

    @property
    def manifest_sha256(self) -> str:
        """The dataset's hash: SHA-256 over its shards' sorted hashes."""
        return combined_sha256(shard.sha256 for shard in self.shards)

    def as_dict(self) -> dict[str, Any]:
        """The document that `crucible check --json` prints."""
        keys = ("code", "shard", "line", "message")
        return {
            "ok": self.ok,
            "documents": self.documents,
            "bytes": self.bytes,
            "text_bytes": self.text_bytes,
            "tokens_estimate": self.tokens_estimate,
            "manifest_sha256": self.manifest_sha256,
            "shards": [asdict(shard) for shard in self.shards],
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
    progress: Progress = no_progress,
) -> Report:
    """Reads the whole dataset and reports its figures and the first problem of each bad shard.

    `scale` is only named in messages; `tokens_needed` is what it trains on and `bytes_per_token`
    the average by which tokens are estimated from `text_bytes`. Raises `unknown_track`, and what
    `find_shards` raises when there is nothing to look at.
    """
    check_track(track)
    report = Report()
    shards = find_shards(paths)
    for index, shard in enumerate(shards):
        progress(index, len(shards), "shard", shard.name)
        try:
            report.shards.append(_check_shard(shard, index, len(shards), progress))
        except Failure as problem:
            report.problems.append(problem)
            if len(report.problems) == MAX_PROBLEMS:
                break
    else:
        progress(len(shards), len(shards), "shard", "checked", documents=report.documents)
    report.tokens_estimate = round(report.text_bytes / bytes_per_token)
    # With a bad shard the count is incomplete, and to say "too small" as well would be a guess.
    if report.ok and report.tokens_estimate * ESTIMATE_SLACK < tokens_needed:
        said = (
            f"the dataset holds about {report.tokens_estimate:,} tokens, "
            f"but scale {scale} trains on {tokens_needed:,}"
        )
        report.problems.append(Failure("dataset_too_small", said))
    return report


def check_track(track: str) -> None:
    """Raises `unknown_track` for a track that there is not."""
    if track not in TRACKS:
        raise Failure("unknown_track", f"there is no track {track}")


def _check_shard(shard: Shard, index: int, of: int, progress: Progress) -> CheckedShard:
    """Reads every document of one shard, then hashes the file."""
    documents = text_bytes = 0
    for document in read_documents(shard):
        documents += 1
        text = document.text
        text_bytes += len(text) if text.isascii() else len(text.encode())
        if documents % DOCUMENTS_A_LINE == 0:
            progress(index, of, "shard", shard.name, documents=documents)
    return CheckedShard(shard.name, file_sha256(shard.path), shard.bytes, documents, text_bytes)
