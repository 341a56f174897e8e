"""Finds the shards of a dataset in files, folders and S3, and reads their documents.

What is found does not depend on the order of the paths or of the folder's entries, and nothing that
was handed in is left out silently: a file that is neither a shard nor a known companion is refused.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from submissions.documents import Document, read_jsonl, read_parquet
from submissions.failures import Failure

__all__ = ["Document", "LocalShard", "Shard", "find_shards", "read_documents"]

S3_SCHEME = "s3://"
FORMATS = {".jsonl": "jsonl", ".jsonl.gz": "jsonl.gz", ".jsonl.zst": "jsonl.zst",
           ".parquet": "parquet"}  # fmt: skip
# What stands beside the shards of published datasets and holds no documents.
COMPANION_SUFFIXES = (".md", ".rst", ".yaml", ".yml", ".py", ".sh", ".png", ".jpg", ".svg", ".pdf",
                      ".log", ".sha1", ".sha256", ".md5", ".crc", ".lock")  # fmt: skip
COMPANION_NAMES = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
                   "manifest.json", "metadata.json", "stats.json", "license", "license.txt",
                   "licence", "licence.txt", "notice", "notice.txt", "readme", "readme.txt",
                   "sha1sums", "sha256sums", "md5sums", "_success"}  # fmt: skip


@dataclass(frozen=True)
class Shard(ABC):
    """One file of documents, wherever it lies; can be pickled.

    `name` is unique in the dataset and is what messages show; `format` is a value of `FORMATS`.
    """

    name: str
    format: str

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Size of the file as it is stored."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Path or URI, as it was given."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """The same for two ways to one file, and different for two files."""

    @property
    @abstractmethod
    def stamp(self) -> str:
        """Another one when the content may have changed, told without reading it."""

    @abstractmethod
    def fetched(self, scratch: Path) -> contextlib.AbstractContextManager[LocalShard]:
        """The shard as a file of this machine, for as long as the context is open.

        One that lies elsewhere is brought below the folder `scratch` and removed afterwards, so
        that a worker needs room for one shard.
        """


@dataclass(frozen=True)
class LocalShard(Shard):
    """A file of this machine."""

    path: Path

    @property
    def bytes(self) -> int:
        """Size of the file as it lies on disk; raises `shard_unreadable` when it has gone."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            said = f"the file cannot be read: {error.strerror}"
            raise Failure("shard_unreadable", said, shard=self.name) from None

    @property
    def address(self) -> str:
        return self.path.as_posix()

    @property
    def identity(self) -> str:
        return str(self.path.resolve())

    @property
    def stamp(self) -> str:
        return f"{self.bytes} {self.path.stat().st_mtime_ns}"

    @contextlib.contextmanager
    def fetched(self, scratch: Path) -> Iterator[Self]:  # noqa: ARG002
        yield self


def find_shards(paths: Sequence[str | Path]) -> list[Shard]:
    """The shards at `paths`, sorted by name.

    A path is a file, a folder that is searched to the bottom, or (as a string) `s3://bucket/key`
    with a key or a prefix that is treated like a folder. A shard below a folder is named by its
    path in that folder, a single file by its file name; where two would get the same name, both
    keep their path as it was given. A file that is reached twice counts once. Links inside a folder
    are followed only to files of that same folder. Raises `dataset_missing`, `dataset_empty`,
    `unknown_format`, `shard_unreadable`, and for S3 `storage_unreachable`.
    """
    shards = named_apart(shard for given in paths for shard in shards_at(given))
    if not shards:
        raise Failure("dataset_empty", f"there is no shard in {', '.join(map(str, paths))}")
    return shards


def shards_at(given: str | Path) -> list[Shard]:
    """The shards of one path as `find_shards` takes it; an empty list for an empty folder."""
    if is_s3(given):
        from submissions.s3 import s3_shards_at

        return list(s3_shards_at(str(given)))
    root = Path(given)
    if not root.exists():
        raise Failure("dataset_missing", f"there is no file or folder {root}")
    if root.is_dir():
        return list(shards_below(root))
    return [LocalShard(root.name, _format_of_given(root), root)]


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


def is_s3(given: str | Path) -> bool:
    """Whether this is an S3 URI; never for a Path, which is what jobs are given."""
    return isinstance(given, str) and given.startswith(S3_SCHEME)


def read_documents(shard: LocalShard) -> Iterator[Document]:
    """The shard's documents in order, in bounded memory; raises at the first malformed one."""
    if shard.format == "parquet":
        return read_parquet(shard.path, shard.name)
    return read_jsonl(shard.path, shard.name, shard.format.removeprefix("jsonl").lstrip("."))


def format_of(name: str) -> str | None:
    """The format that a file name's suffix tells, or None."""
    lower = name.lower()
    return next((kind for suffix, kind in FORMATS.items() if lower.endswith(suffix)), None)


def _format_of_given(path: Path) -> str:
    kind = format_of(path.name)
    if kind is None:
        raise unknown_format(path.name)
    if not path.is_file():
        raise Failure("shard_unreadable", "this is no regular file", shard=path.name)
    return kind


def unknown_format(name: str) -> Failure:
    """The refusal of a file whose content is not known."""
    return Failure(
        "unknown_format", "the file's name ends in none of the known formats", shard=name
    )


def is_companion(name: str) -> bool:
    """Whether a file of this name is hidden or stands beside shards without being one."""
    lower = name.lower()
    return lower.startswith(".") or lower.endswith(COMPANION_SUFFIXES) or lower in COMPANION_NAMES


def shards_below(root: Path, left_out: Path | None = None) -> Iterator[LocalShard]:
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
            kind = format_of(name)
            if kind is None:
                raise unknown_format(relative)
            if not path.is_file():
                raise Failure("shard_unreadable", "this is no regular file", shard=relative)
            yield LocalShard(relative, kind, path)


def _check_inside(path: Path, root: Path, real_root: Path) -> None:
    """A link that leads elsewhere could hand in what the participant may not read, or nothing."""
    if path.is_symlink() and not path.resolve().is_relative_to(real_root):
        raise Failure(
            "shard_unreadable", "this is a link that leads out of the folder",
            shard=path.relative_to(root).as_posix(),
        )  # fmt: skip
