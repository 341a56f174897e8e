"""Finds the shards of a dataset in files, folders and S3.

The result does not depend on the order of the paths or of the folder's entries. No submitted file
is left out silently: a file that is neither a shard nor a known companion is refused.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from submissions.failures import Failure
from submissions.shards import (
    FORMATS,
    LocalShard,
    Shard,
    format_of,
    is_companion,
    is_s3,
    unknown_format,
)


def find_shards(paths: Sequence[str | Path], formats: Mapping[str, str] = FORMATS) -> list[Shard]:
    """The shards at `paths`, sorted by name; `formats` are those that count as shards.

    A path is a file, a folder that is searched to the bottom, or (as a string) `s3://bucket/key`
    with a key or a prefix that is treated like a folder. A shard below a folder is named by its
    path in that folder, a single file by its file name; where two would get the same name, both
    keep their path as it was given. A file that is reached twice counts once. Links inside a folder
    are followed only to files of that same folder. Raises `dataset_missing`, `dataset_empty`,
    `unknown_format`, `shard_unreadable`, and for S3 `storage_unreachable`.
    """
    shards = named_apart(shard for given in paths for shard in shards_at(given, formats))
    if not shards:
        raise Failure("dataset_empty", f"there is no shard in {', '.join(map(str, paths))}")
    return shards


def shards_at(given: str | Path, formats: Mapping[str, str] = FORMATS) -> list[Shard]:
    """The shards of one path as `find_shards` takes it; an empty list for an empty folder."""
    if is_s3(given):
        from submissions.s3 import s3_shards_at

        return list(s3_shards_at(str(given), formats))
    if not str(given):
        raise Failure("dataset_missing", "a path is empty")
    root = Path(given)
    if not root.exists():
        raise Failure("dataset_missing", f"there is no file or folder {root}")
    if root.is_dir():
        return list(shards_below(root, formats=formats))
    return [LocalShard(root.name, _format_of_given(root, formats), root)]


def named_apart(shards: Iterable[Shard]) -> list[Shard]:
    """Each shard once and under a name of its own, sorted by name."""
    found: dict[str, Shard] = {}
    for shard in shards:
        found.setdefault(shard.identity, shard)
    apart = list(found.values())
    for longer in ("address", "identity"):
        uses = Counter(shard.name for shard in apart)
        apart = [
            shard if uses[shard.name] == 1 else replace(shard, name=getattr(shard, longer))
            for shard in apart
        ]
    return sorted(apart, key=lambda shard: shard.name)


def _format_of_given(path: Path, formats: Mapping[str, str]) -> str:
    kind = format_of(path.name, formats)
    if kind is None:
        raise unknown_format(path.name)
    if not path.is_file():
        raise Failure("shard_unreadable", "this is no regular file", shard=path.name)
    return kind


def shards_below(
    root: Path, left_out: Path | None = None, formats: Mapping[str, str] = FORMATS
) -> Iterator[LocalShard]:
    """Every shard in a folder, without hidden files and folders and the file `left_out`."""

    def unreadable(error: OSError) -> None:
        where = os.path.relpath(error.filename, root)
        raise Failure(
            "shard_unreadable", f"the folder cannot be read: {error.strerror}", shard=where
        )

    real_root = root.resolve()
    for folder, subfolders, files in os.walk(root, onerror=unreadable):
        for name in [n for n in subfolders if (Path(folder) / n).is_symlink()]:
            _check_inside(Path(folder) / name, root, real_root)
        subfolders[:] = sorted(n for n in subfolders if not n.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            if is_companion(name) or path == left_out:
                continue
            _check_inside(path, root, real_root)
            relative = path.relative_to(root).as_posix()
            kind = format_of(name, formats)
            if kind is None:
                raise unknown_format(relative)
            if not path.is_file():
                raise Failure("shard_unreadable", "this is no regular file", shard=relative)
            yield LocalShard(relative, kind, path)


def _check_inside(path: Path, root: Path, real_root: Path) -> None:
    """A link that leads elsewhere could submit what the participant may not read, or nothing.

    A snapshot in the cache of Hugging Face is a folder of links to the `blobs` beside it.
    """
    if not path.is_symlink():
        return
    target = path.resolve()
    blobs = target.parent.name == "blobs" and path.is_file()
    if blobs and real_root.is_relative_to(target.parent.parent / "snapshots"):
        return
    if not target.is_relative_to(real_root):
        raise Failure(
            "shard_unreadable",
            "this is a link to a file outside the folder",
            shard=path.relative_to(root).as_posix(),
        )
