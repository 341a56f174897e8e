"""What a check has read so far, in a file: killed, it continues after the last shard in it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from submissions.codec import MisfitError, decode_or_misfit
from submissions.files import written_atomically
from submissions.shards import Shard
from submissions.token_sample import TokenSample

PERIOD = 10.0  # seconds between two writes: the file grows with the dataset
MAX_BYTES = 2**30


@dataclass(frozen=True)
class CheckedShard:
    """One shard's figures: `bytes` as on disk, `text_bytes` of its texts as UTF-8."""

    name: str
    sha256: str
    bytes: int
    documents: int
    text_bytes: int


class _SoFar(msgspec.Struct, frozen=True):
    stamps: list[str]  # of the shards, in order: another file, another stamp
    shards: list[CheckedShard]
    samples: dict[str, dict[str, Any]]  # by source


class CheckedSoFar:
    """The file `path`, about these shards in this order; without a path nothing is kept."""

    def __init__(self, path: Path | None, shards: Sequence[Shard]) -> None:
        self.path, self.shards = path, shards
        self.saved_at = time.monotonic()

    def load(self, samples: Mapping[str, TokenSample]) -> list[CheckedShard]:
        """The shards that need not be read again; brings the samples to where they were."""
        if self.path is None or not self.path.exists():
            return []
        try:
            found = decode_or_misfit(_SoFar, self.path.read_bytes(), MAX_BYTES)
        except (OSError, MisfitError):
            return []
        count = len(found.shards)
        if found.stamps != _stamps(self.shards[:count]) or found.samples.keys() != samples.keys():
            return []
        for source, sample in samples.items():
            sample.go_on_from(found.samples[source])
        return found.shards

    def save(self, checked: list[CheckedShard], samples: Mapping[str, TokenSample]) -> None:
        """Writes them, unless that was done a moment ago."""
        if self.path is None or time.monotonic() - self.saved_at < PERIOD:
            return
        states = {source: sample.state() for source, sample in samples.items()}
        so_far = _SoFar(_stamps(self.shards[: len(checked)]), checked, states)
        with written_atomically(self.path, "wb", one_writer=True) as file:
            file.write(msgspec.json.encode(so_far))
        self.saved_at = time.monotonic()


def _stamps(shards: Sequence[Shard]) -> list[str]:
    return [f"{shard.identity} {shard.stamp}" for shard in shards]
