"""Makes the manifest of a dataset in S3 or a folder: every shard is read once, none is kept.

Each finished shard is a line of a partial file, so that a run which was stopped reads again only
what it had not finished or what has changed since.
"""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from submissions import s3
from submissions.codec import MisfitError, decode_or_misfit, encode_line
from submissions.failures import Failure
from submissions.manifest import (
    MAX_SHARDS,
    ManifestEntry,
    ManifestHead,
    endpoint_of,
    write_manifest,
)
from submissions.mixture import MIXTURE
from submissions.progress import Progress, no_progress
from submissions.s3 import S3Shard, s3_shards_at
from submissions.shard_search import shards_below
from submissions.shards import S3_SCHEME, LocalShard, Shard, is_s3

WORKERS = 8  # shards that are read at once: a store gives more to several


class _Done(msgspec.Struct, frozen=True):
    """A line of the partial file: a shard as it was when it was read."""

    stamp: str
    entry: ManifestEntry


def make_manifest(
    given: str, output: Path, presign_hours: int = 0, progress: Progress = no_progress
) -> tuple[ManifestHead, list[ManifestEntry]]:
    """Writes the manifest of `s3://bucket/prefix` or a folder to the file `output`.

    With `presign_hours` each shard gets a URL that is valid so long and needs no key. Raises what
    listing and reading raise, such as `dataset_missing` where one may list and not read.
    """
    if presign_hours and not is_s3(given):
        raise Failure("refused", "--presign is for s3:// alone")
    shards = _shards(given)
    _check(shards, given)
    partial = output.with_name(f".{output.name}.partial")
    entries = {entry.name: entry for entry in _entries(shards, partial, progress)}
    ordered = [entries[shard.name] for shard in shards]
    if presign_hours:
        ordered = [
            msgspec.structs.replace(entry, url=_presigned(shard, entry, presign_hours))
            for shard, entry in zip(shards, ordered, strict=True)
        ]
    total = sum(entry.size for entry in ordered)
    head = _head(given, shards[0], len(ordered), total)
    write_manifest(output, head, ordered)
    partial.unlink(missing_ok=True)
    return head, ordered


def _shards(given: str) -> Sequence[Shard]:
    if is_s3(given):
        return sorted(s3_shards_at(given), key=lambda shard: shard.name)
    root = Path(given)
    if not root.is_dir():
        raise Failure("dataset_missing", f"there is no folder {root}")
    found = sorted(shards_below(root, left_out=root / MIXTURE), key=lambda shard: shard.name)
    if any(shard.path.is_symlink() for shard in found):
        raise Failure("refused", "a link in the folder: a site does not follow links")
    return found


def _check(shards: Sequence[Shard], given: str) -> None:
    if not shards:
        raise Failure("dataset_empty", f"there is no shard in {given}")
    if len(shards) > MAX_SHARDS:
        said = f"there are {len(shards):,} shards, and a manifest holds {MAX_SHARDS:,}: join some"
        raise Failure("refused", said)
    for shard in shards:
        if shard.bytes == 0:
            raise Failure("shard_empty", "the file is empty", shard=shard.name)


def _entries(shards: Sequence[Shard], partial: Path, progress: Progress) -> Iterator[ManifestEntry]:
    """An entry of each shard, kept ones first; a new one is kept before it is given."""
    known = _kept(partial)
    total, done = sum(shard.bytes for shard in shards), 0
    left = []
    for shard in shards:
        if (kept := known.get(shard.name)) and kept.stamp == shard.stamp:
            done += shard.bytes
            yield kept.entry
        else:
            left.append(shard)
    progress(done, total, "B", "reading")
    pool = concurrent.futures.ThreadPoolExecutor(WORKERS)
    with partial.open("ab") as file:
        try:
            futures = {pool.submit(_entry, shard): shard for shard in left}
            for future in concurrent.futures.as_completed(futures):
                shard, entry = futures[future], future.result()
                file.write(encode_line(_Done(shard.stamp, entry)))
                file.flush()
                done += shard.bytes
                progress(done, total, "B", shard.name)
                yield entry
        finally:
            pool.shutdown(cancel_futures=True)


def _kept(partial: Path) -> dict[str, _Done]:
    """What an earlier run finished; a last line that was cut off does not count."""
    found = {}
    try:
        lines = partial.read_bytes().split(b"\n")[:-1]
    except OSError:
        return {}
    for line in lines:
        try:
            done = decode_or_misfit(_Done, line)
        except MisfitError:
            continue
        found[done.entry.name] = done
    return found


def _entry(shard: Shard) -> ManifestEntry:
    if isinstance(shard, S3Shard):
        return _entry_of_object(shard)
    assert isinstance(shard, LocalShard)
    return ManifestEntry(name=shard.name, size=shard.bytes, sha256=shard.sha256())


def _entry_of_object(shard: S3Shard) -> ManifestEntry:
    """By the whole object's SHA-256 where the store has it, else by reading the object."""
    with s3.as_failures(shard.address, shard.name):
        about = s3.client().head_object(
            Bucket=shard.bucket, Key=shard.key, IfMatch=f'"{shard.etag}"', ChecksumMode="ENABLED"
        )
    sha256 = _stored_sha256(about)
    if not sha256:
        read = _Hashed()
        s3.download(shard, read)
        sha256 = read.digest.hexdigest()
    version = about.get("VersionId", "")
    return ManifestEntry(
        name=shard.name, size=shard.size, sha256=sha256, etag=shard.etag,
        version_id="" if version == "null" else version,
    )  # fmt: skip


def _stored_sha256(about: dict[str, Any]) -> str:
    """The hexadecimal SHA-256 of the whole object, if the store says that it is one."""
    said = about.get("ChecksumSHA256", "")
    if about.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT" or "-" in said:
        return ""
    try:
        digest = base64.b64decode(said, validate=True)
    except ValueError:
        return ""
    return digest.hex() if len(digest) == hashlib.sha256().digest_size else ""


class _Hashed:
    """Takes the place of a file: what is written to it is hashed and dropped."""

    def __init__(self) -> None:
        self.digest, self._size = hashlib.sha256(), 0

    def tell(self) -> int:
        return self._size

    def write(self, chunk: bytes) -> int:
        self.digest.update(chunk)
        self._size += len(chunk)
        return len(chunk)

    def seek(self, place: int) -> None:
        """Back to the beginning alone: what was hashed cannot be taken out in part."""
        if place:
            raise Failure("storage_unreachable", "the store's checksum does not fit: start again")
        self.digest, self._size = hashlib.sha256(), 0

    def truncate(self) -> None:
        """Nothing is kept anyway."""


def _presigned(shard: Shard, entry: ManifestEntry, hours: int) -> str:
    assert isinstance(shard, S3Shard)
    what = {"Bucket": shard.bucket, "Key": shard.key}
    if entry.version_id:
        what["VersionId"] = entry.version_id
    with s3.as_failures(shard.address, shard.name):
        url: str = s3.client().generate_presigned_url(
            "get_object", Params=what, ExpiresIn=hours * 3600
        )
    return url


def _head(given: str, shard: Shard, shards: int, size: int) -> ManifestHead:
    """Where names start: one object's own prefix, the prefix that was given, or the folder."""
    base, endpoint, region = f"{Path(given).resolve().as_uri()}/", "", ""
    if isinstance(shard, S3Shard):
        base = f"{S3_SCHEME}{shard.bucket}/{shard.key.removesuffix(shard.name)}"
        client = s3.client()
        endpoint, region = endpoint_of(client.meta.endpoint_url), client.meta.region_name or ""
    fields = {"base": base, "endpoint": endpoint, "region": region}
    try:
        document = {"crucible_manifest": 1, "shards": shards, "bytes": size} | fields
        return decode_or_misfit(ManifestHead, json.dumps(document).encode())
    except MisfitError as misfit:
        raise Failure("refused", misfit.message_for(given)) from None
