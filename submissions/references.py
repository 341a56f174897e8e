"""Shards that stay where they lie: read through the fetcher or, without a cage, directly.

What arrives is hashed on its way to the reader and is never kept; only parquet, whose contents
stand at its end, lies on this disk while it is read. A shard is what the manifest says, or its
reading ends with a failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from submissions.failures import Failure
from submissions.fetcher import fetched_chunks
from submissions.manifest import ManifestEntry, ManifestHead, read_manifest
from submissions.shards import LocalShard, OpenShard, Shard, format_of
from submissions.states import Fault
from submissions.store_access import read_access
from submissions.stores import changed, store_of

# Set for a job that reads by reference: the socket of its fetcher, or the file of its access.
FETCHER, ACCESS = "CRUCIBLE_FETCHER", "CRUCIBLE_STORE_ACCESS"
BUFFER = 2**20


@dataclass(frozen=True)
class ReferencedShard(Shard):
    """A shard as the manifest of `head` describes it."""

    head: ManifestHead
    entry: ManifestEntry

    @property
    def bytes(self) -> int:
        return self.entry.size

    @property
    def address(self) -> str:
        return f"{self.head.base}{self.name}"

    @property
    def identity(self) -> str:
        return self.address

    @property
    def stamp(self) -> str:
        return self.entry.sha256  # what an earlier attempt made of these bytes is still of them

    @contextlib.contextmanager
    def fetched(self, scratch: Path) -> Iterator[LocalShard]:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="s3-", dir=scratch) as folder:
            path = Path(folder) / f"shard.{self.format}"
            with path.open("wb") as file, contextlib.closing(_Arriving(self)) as arriving:
                while chunk := arriving.read(BUFFER):
                    file.write(chunk)
            yield LocalShard(self.name, self.format, path)

    @contextlib.contextmanager
    def streamed(self, scratch: Path) -> Iterator[OpenShard]:
        if self.format == "parquet":
            with self.fetched(scratch) as local:
                yield local
            return
        shard = StreamedShard(self)
        try:
            yield shard
            shard.read_out()
        except Failure as failure:
            # What is wrong with these bytes matters only if they are the ones that were promised.
            if failure.fault == Fault.PARTICIPANT:
                shard.read_out()
            raise
        finally:
            shard.close()


class StreamedShard:
    """A referenced shard while it arrives; opening it again asks for it again."""

    def __init__(self, shard: ReferencedShard) -> None:
        self._shard = shard
        self._last: _Arriving | None = None

    @property
    def name(self) -> str:
        return self._shard.name

    @property
    def format(self) -> str:
        return self._shard.format

    @property
    def bytes(self) -> int:
        return self._shard.bytes

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """See `documents.Readable`; stays open until the shard is closed."""
        self.close()
        self._last = _Arriving(self._shard)
        yield io.BufferedReader(self._last, BUFFER)

    def sha256(self) -> str:
        """The promised hash: whoever reads to the end has it verified."""
        return self._shard.entry.sha256

    def read_out(self) -> None:
        """Reads what nobody has read, so that all was verified; raises as reading does."""
        if self._last is None:
            self._last = _Arriving(self._shard)
        while not self._last.over and self._last.read(BUFFER):
            pass

    def close(self) -> None:
        """Ends the connection."""
        if self._last is not None:
            self._last.close()


class _Arriving(io.RawIOBase):
    """Bytes on their way; at their end it is known whether they are those of the manifest."""

    def __init__(self, shard: ReferencedShard) -> None:
        super().__init__()
        self._entry = shard.entry
        self._chunks = _chunks(shard)
        self._digest = hashlib.sha256()
        self._left = memoryview(b"")
        self._size = 0
        self.over = False  # verified, or failed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left and not self.over:
            self._left = memoryview(self._next())
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _next(self) -> bytes:
        """The next bytes; none at the end, once they proved to be the promised ones."""
        try:
            for chunk in self._chunks:
                if not chunk:
                    continue
                self._size += len(chunk)
                if self._size > self._entry.size:
                    raise changed(self._entry)
                self._digest.update(chunk)
                return chunk
            if (self._size, self._digest.hexdigest()) != (self._entry.size, self._entry.sha256):
                raise changed(self._entry)
        except BaseException:
            self.over = True
            raise
        self.over = True
        return b""

    def close(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        super().close()


def referenced_shards(path: Path) -> list[ReferencedShard]:
    """The shards of the manifest in a file, sorted by name; raises what `read_manifest` raises."""
    manifest = read_manifest(path)
    return [
        ReferencedShard(entry.name, format_of(entry.name) or "", manifest.head, entry)
        for entry in manifest.entries
    ]


def _chunks(shard: ReferencedShard) -> Iterator[bytes]:
    """By the way that this process has been given."""
    if at := os.environ.get(FETCHER):
        return fetched_chunks(Path(at), shard.entry)
    if access := os.environ.get(ACCESS):
        return store_of(shard.head, read_access(Path(access))).chunks(shard.entry)
    said = "a manifest is read by a site's jobs alone: name the data itself instead"
    raise Failure("store_refused", said, shard=shard.name)
