"""A shard, local or in S3: its name, format and documents."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from submissions.documents import Document, Readable, read_jsonl, read_parquet
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.names import visible

__all__ = ["Document", "LocalShard", "OpenShard", "Shard", "read_documents"]

S3_SCHEME = "s3://"
FORMATS = {
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl.gz",
    ".jsonl.zst": "jsonl.zst",
    ".parquet": "parquet",
}
# What a crawl leaves: inputs of `crucible curate`, never shards of a dataset.
CRAWL_FORMATS = FORMATS | {
    ".warc": "warc",
    ".warc.gz": "warc.gz",
    ".wet": "warc",
    ".wet.gz": "warc.gz",
}
# Files that published datasets hold beside their shards, without documents.
COMPANION_SUFFIXES = (".md", ".rst", ".yaml", ".yml", ".py", ".sh", ".png", ".jpg", ".svg", ".pdf",
                      ".log", ".sha1", ".sha256", ".md5", ".crc", ".lock")  # fmt: skip
COMPANION_NAMES = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
                   "manifest.json", "crucible-manifest.jsonl", "metadata.json",
                   "stats.json", "license", "license.txt",
                   "licence", "licence.txt", "notice", "notice.txt", "readme", "readme.txt",
                   "sha1sums", "sha256sums", "md5sums", "_success"}  # fmt: skip


@dataclass(frozen=True)
class Shard(ABC):
    """One file of documents, wherever it lies; can be pickled.

    `name` is unique in the dataset and is what messages show; `format` is a value of
    `CRAWL_FORMATS`.
    """

    name: str
    format: str

    def __post_init__(self) -> None:
        """Raises `shard_unreadable` for a name that no manifest or report could hold."""
        try:
            self.name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(self.name).decode(errors="replace")
            said = "the file's name is not UTF-8: rename it"
            raise Failure("shard_unreadable", said, shard=shown) from None
        if (shown := visible(self.name)) != self.name or any(c in self.name for c in "\n\r\t"):
            said = "the file's name holds characters that nobody can see: rename it"
            raise Failure("shard_unreadable", said, shard=repr(shown)[1:-1])

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
        """A value that changes when the content may have changed, without reading it."""

    @abstractmethod
    def fetched(self, scratch: Path) -> contextlib.AbstractContextManager[LocalShard]:
        """The shard as a file of this machine, for as long as the context is open.

        One that lies elsewhere is brought below the folder `scratch` and removed afterwards, so
        that a worker needs room for one shard.
        """

    def streamed(self, scratch: Path) -> contextlib.AbstractContextManager[OpenShard]:
        """The shard to be read once from beginning to end; on disk only where that must be."""
        return self.fetched(scratch)


class OpenShard(Readable, Protocol):
    """A shard while its documents can be read: a file of this machine, or bytes that arrive."""

    @property
    def format(self) -> str: ...

    def sha256(self) -> str:
        """SHA-256 of its bytes. Of bytes that arrive it is known before, and holds at their end."""


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

    def opened(self) -> contextlib.AbstractContextManager[BinaryIO]:
        return self.path.open("rb")

    def sha256(self) -> str:
        return file_sha256(self.path)

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


def is_s3(given: str | Path) -> bool:
    """Whether this is an S3 URI; never for a Path, which is what jobs are given."""
    return isinstance(given, str) and given.startswith(S3_SCHEME)


def read_documents(shard: OpenShard) -> Iterator[Document]:
    """The shard's documents in order, in bounded memory; raises at the first malformed one."""
    if isinstance(shard, LocalShard) and shard.format == "parquet":
        return read_parquet(shard.path, shard.name)
    return read_jsonl(shard, shard.format.removeprefix("jsonl").lstrip("."))


def format_of(name: str, formats: Mapping[str, str] = FORMATS) -> str | None:
    """The format that a file name's suffix tells, or None."""
    lower = name.lower()
    return next((kind for suffix, kind in formats.items() if lower.endswith(suffix)), None)


def unknown_format(name: str) -> Failure:
    """The refusal of a file whose content is not known."""
    return Failure("unknown_format", "the file's name has no ending of a known format", shard=name)


def is_companion(name: str) -> bool:
    """Whether a file of this name is hidden or stands beside shards without being one."""
    lower = name.lower()
    return lower.startswith(".") or lower.endswith(COMPANION_SUFFIXES) or lower in COMPANION_NAMES
