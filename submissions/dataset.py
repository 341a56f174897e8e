"""A submitted dataset: its shards, and with a mixture which source each belongs to.

Reading a dataset starts with `find_dataset`; the dataset hash is computed here too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from submissions.failures import Failure
from submissions.hashing import combined_sha256
from submissions.manifest import MANIFEST
from submissions.mixture import (
    MIXTURE,
    Mixed,
    mixture_of_file,
    mixture_of_folder,
    mixture_of_shards,
)
from submissions.references import referenced_shards
from submissions.shard_search import find_shards
from submissions.shards import Shard, is_s3

PATH_HELP = "shard, folder, s3://bucket/prefix, or a mixture.json"  # of what find_dataset takes


@dataclass(frozen=True)
class Source:
    """Shards that belong together. `weight` is their share of the training tokens, in (0, 1]."""

    name: str
    weight: float | None
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Dataset:
    """Sources sorted by name; without weights there is one, with the name ""."""

    sources: tuple[Source, ...]

    @property
    def weighted(self) -> bool:
        """Whether a mixture gives the share of each source."""
        return self.sources[0].weight is not None

    @property
    def shards(self) -> list[Shard]:
        """All shards, sorted by name."""
        shards = (shard for source in self.sources for shard in source.shards)
        return sorted(shards, key=lambda shard: shard.name)

    def sha256(self, hash_of: Mapping[str, str]) -> str:
        """The dataset's hash, from the SHA-256 of each shard by the shard's name.

        Names and order of shards do not matter. Without weights it covers the shards' contents
        (`combined_sha256`); with weights also the sources' names and weights, and which contents
        are whose.
        """
        if not self.weighted:
            return combined_sha256(hash_of[shard.name] for shard in self.shards)
        parts = [
            [source.name, source.weight, sorted(hash_of[shard.name] for shard in source.shards)]
            for source in self.sources
        ]
        return hashlib.sha256(json.dumps(["mixture", parts]).encode()).hexdigest()


def find_dataset(paths: Sequence[str | Path]) -> Dataset:
    """The dataset at `paths`: shards, folders and S3 as `find_shards` takes them, or a mixture.

    A mixture is one path, to a file that is called mixture.json or to a folder that holds one at
    its root. The first may name shards anywhere; the second, which others may have written, only
    what lies in that folder. A manifest is one path, to a file that is called
    crucible-manifest.jsonl; a mixture.json beside it names its shards. Raises `mixture_invalid`,
    `manifest_invalid`, and what `find_shards` raises.
    """
    if len(paths) == 1 and not is_s3(paths[0]) and Path(paths[0]).name == MANIFEST:
        return _dataset_of_manifest(Path(paths[0]))
    mixtures = [given for given in paths if not is_s3(given) and _is_mixture(Path(given))]
    if mixtures and len(paths) > 1:
        said = f"{mixtures[0]} is a mixture and must be the only input"
        raise Failure("mixture_invalid", said)
    if not mixtures:
        return Dataset((Source("", None, tuple(find_shards(paths))),))
    given = Path(mixtures[0])
    mixed = mixture_of_folder(given) if given.is_dir() else mixture_of_file(given)
    return Dataset(tuple(map(_source, sorted(mixed, key=lambda one: one.name))))


def _dataset_of_manifest(manifest: Path) -> Dataset:
    shards = referenced_shards(manifest)
    mixture = manifest.with_name(MIXTURE)
    if not _is_mixture(mixture.parent):
        return Dataset((Source("", None, tuple(shards)),))
    mixed = mixture_of_shards(mixture, shards)
    return Dataset(tuple(map(_source, sorted(mixed, key=lambda one: one.name))))


def _source(mixed: Mixed) -> Source:
    return Source(mixed.name, mixed.weight, tuple(mixed.shards))


def _is_mixture(path: Path) -> bool:
    """A link counts too, so that a broken link is refused and not ignored."""
    inside = path / MIXTURE
    return path.name == MIXTURE or inside.exists() or inside.is_symlink()
