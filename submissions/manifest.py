"""The manifest of a dataset that stays where it lies: what each shard is called, and its hash.

The first line says where the shards lie and how many there are, each further one is a shard. It is
hostile input: names are only compared and appended to that place, after it was seen that they
cannot lead out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec

from submissions.codec import decode, encode_line
from submissions.failures import Failure
from submissions.files import written_atomically
from submissions.hashing import combined_sha256
from submissions.shards import S3_SCHEME, format_of, unknown_format

MANIFEST = "crucible-manifest.jsonl"
VERSION = 1
MAX_BYTES = 64 * 2**20
MAX_SHARDS = 100_000
MAX_LINE = 16 * 2**10  # bytes
MAX_NAME = 900  # bytes: S3 allows keys of 1,024
FILE_SCHEME = "file://"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")

SHA256 = re.compile(r"[0-9a-f]{64}")
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Short = Annotated[str, msgspec.Meta(max_length=1024)]


class ManifestHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line. Shards lie at `base` (`s3://bucket/prefix/` or `file:///folder/`) + name."""

    crucible_manifest: int
    base: Short
    endpoint: Short = ""  # https://host of the store; empty for a folder
    region: Annotated[str, msgspec.Meta(max_length=64, pattern="^[a-z0-9-]*$")] = ""
    shards: Count
    bytes: Count

    def __post_init__(self) -> None:
        if self.crucible_manifest != VERSION:
            raise ValueError(f"this release reads manifests of version {VERSION}")
        base, place = self.base, self.base.partition("://")[2]
        if not base.startswith((S3_SCHEME, FILE_SCHEME)) or not base.endswith("/"):
            raise ValueError('"base" must be s3://bucket/prefix/ or file:///folder/')
        if not _is_plain(place.strip("/"), hidden=True):
            raise ValueError('"base" must be a plain address, without . or .. in it')
        if self.in_s3 and not BUCKET.fullmatch(self.bucket):
            raise ValueError('"base" names no bucket')
        if self.in_s3 != bool(self.endpoint):
            raise ValueError('an "endpoint" belongs to s3:// and to nothing else')
        if self.endpoint and endpoint_of(self.endpoint) != self.endpoint:
            raise ValueError('"endpoint" must be the address of a server, such as https://host')

    @property
    def in_s3(self) -> bool:
        return self.base.startswith(S3_SCHEME)

    @property
    def bucket(self) -> str:
        """The bucket of `s3://bucket/prefix/`."""
        return self.base.removeprefix(S3_SCHEME).partition("/")[0]

    @property
    def prefix(self) -> str:
        """What a name is appended to, to give the object's key: empty, or it ends with a slash."""
        return self.base.removeprefix(S3_SCHEME).partition("/")[2]

    @property
    def folder(self) -> Path:
        """The folder of `file:///folder/`."""
        return Path(unquote(urlsplit(self.base).path))


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of a shard. `url`, a presigned one, is a secret for as long as it is valid."""

    name: str
    size: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]  # bytes
    sha256: str  # 64 hexadecimal digits
    version_id: Short = ""
    etag: Short = ""  # without its quotes
    url: Annotated[str, msgspec.Meta(max_length=8192)] = ""

    def __post_init__(self) -> None:
        if not _is_plain(self.name):
            raise ValueError(
                f"the name {self.name[:80]!r} must be a path below the manifest's place: no .., "
                "no leading slash or dot, no control characters"
            )
        if not SHA256.fullmatch(self.sha256):
            raise ValueError("sha256 must be 64 digits from 0 to 9 and a to f")

    def __repr__(self) -> str:
        return f"ManifestEntry({self.name!r})"


@dataclass(frozen=True)
class Manifest:
    """A whole manifest; `entries` are sorted by name, each name once."""

    head: ManifestHead
    entries: tuple[ManifestEntry, ...]

    @property
    def sha256(self) -> str:
        """The dataset hash, without a mixture: that of the same bytes uploaded."""
        return combined_sha256(entry.sha256 for entry in self.entries)

    @property
    def presigned(self) -> bool:
        return any(entry.url for entry in self.entries)


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file, in bounded memory and time.

    Raises `manifest_invalid` with the line and what is wrong with it, `unknown_format` and
    `shard_empty` for a shard that no dataset may hold, and `dataset_missing` without a file.
    """
    lines = _lines(path)
    number, first = next(lines, (1, b""))
    head = decode(ManifestHead, first, code="manifest_invalid", where="line 1", limit=MAX_LINE)
    if not 0 < head.shards <= MAX_SHARDS:
        said = f"a manifest names 1 to {MAX_SHARDS:,} shards, and this one {head.shards:,}"
        raise Failure("manifest_invalid", said)
    found: dict[str, ManifestEntry] = {}
    for number, line in lines:
        where = f"line {number}"
        entry = decode(ManifestEntry, line, code="manifest_invalid", where=where, limit=MAX_LINE)
        if entry.name in found:
            raise _invalid(f"{where} names {entry.name} a second time")
        if format_of(entry.name) is None:
            raise unknown_format(entry.name)
        if entry.size == 0:
            raise Failure("shard_empty", "the file is empty", shard=entry.name)
        found[entry.name] = entry
        if len(found) > head.shards:
            raise _invalid(f"line 1 announces {head.shards:,} shards, and there are more")
    entries = tuple(sorted(found.values(), key=lambda entry: entry.name))
    _check_whole(head, entries)
    return Manifest(head, entries)


def write_manifest(path: Path, head: ManifestHead, entries: Sequence[ManifestEntry]) -> None:
    """Writes a manifest, whole or not at all."""
    with written_atomically(path, "wb") as file:
        for part in (head, *sorted(entries, key=lambda entry: entry.name)):
            file.write(encode_line(part))


def endpoint_of(url: str) -> str:
    """`scheme://host` or `scheme://host:port` of an address, in the one way to write it; or ""."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        return ""
    usual = {"http": 80, "https": 443}[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port not in (None, usual) else "")


def _check_whole(head: ManifestHead, entries: Sequence[ManifestEntry]) -> None:
    """What only all lines together show: a lost end, and URLs for a part of the shards."""
    size = sum(entry.size for entry in entries)
    if (len(entries), size) != (head.shards, head.bytes):
        raise _invalid(
            f"line 1 announces {head.shards:,} shards of {head.bytes:,} bytes, and there are "
            f"{len(entries):,} of {size:,}: the file is not whole"
        )
    without = [entry.name for entry in entries if not entry.url]
    if 0 < len(without) < len(entries):
        raise _invalid(f"{without[0]} has no url, and other shards have one")
    if not without and not head.in_s3:
        raise _invalid("a folder has no urls")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines of the file, no more of it than is allowed."""
    try:
        with path.open("rb") as file:
            number = size = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                size += len(line)
                if size > MAX_BYTES:
                    raise _invalid(f"it is larger than {MAX_BYTES // 2**20} MiB: join some shards")
                if len(line) > MAX_LINE:
                    raise _invalid(f"line {number} is longer than {MAX_LINE:,} bytes")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise Failure("dataset_missing", f"{path}: {(error.strerror or 'unreadable')}") from None


def _is_plain(name: str, *, hidden: bool = False) -> bool:
    """Whether it is a relative path that stays below where it begins."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    if hidden and not name:
        return True
    parts = name.split("/")
    return (
        0 < size <= MAX_NAME
        and name.isprintable()
        and all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
        and (hidden or not any(part.startswith(".") for part in parts))
        and "\\" not in name
        and PurePosixPath(name).as_posix() == name
    )


def _invalid(said: str) -> Failure:
    return Failure("manifest_invalid", said)
