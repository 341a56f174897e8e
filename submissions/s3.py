"""Shards in S3 and in what speaks its protocol: listing them, and fetching one to disk.

Credentials, region and endpoint (`AWS_ENDPOINT_URL`) are found by boto3 as in every other AWS tool.
An object is what the listing said it is, by size and ETag, or the work stops.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from submissions.failures import Failure
from submissions.shards import (
    FORMATS,
    S3_SCHEME,
    LocalShard,
    Shard,
    format_of,
    is_companion,
    unknown_format,
)

PAGE = 1_000  # keys a listing request, the most that S3 gives
CHUNK = 2**20
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt that brought nothing
CONNECT_TIMEOUT, READ_TIMEOUT = 10, 60  # seconds

# What the protocol's error codes mean to the person who gave the URI.
DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403"}
BAD_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
                   "TokenRefreshRequired", "RequestExpired"}  # fmt: skip
CHANGED = {"PreconditionFailed", "412", "InvalidRange", "416"}
REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such object any more",
    "404": "there is no such object any more",
    "InvalidBucketName": "the name of the bucket is not valid",
    "InvalidObjectState": "the object is archived: restore it first",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION",
    "IllegalLocationConstraintException": "the bucket is in another region: set AWS_REGION",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}


class Sink(Protocol):
    """What an object is written to: a file, or what takes its place."""

    def tell(self) -> int: ...

    def write(self, chunk: bytes, /) -> int: ...

    def seek(self, place: int, /) -> Any: ...

    def truncate(self) -> Any: ...


@dataclass(frozen=True)
class S3Shard(Shard):
    """An object as it was listed: `size` in bytes, `etag` without its quotes."""

    bucket: str
    key: str
    size: int
    etag: str

    @property
    def bytes(self) -> int:
        return self.size

    @property
    def address(self) -> str:
        return f"{S3_SCHEME}{self.bucket}/{self.key}"

    @property
    def identity(self) -> str:
        return self.address

    @property
    def stamp(self) -> str:
        return f"{self.size} {self.etag}"

    @contextlib.contextmanager
    def fetched(self, scratch: Path) -> Iterator[LocalShard]:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="s3-", dir=scratch) as folder:
            path = Path(folder) / f"shard.{self.format}"
            with path.open("wb") as file:
                download(self, file)
            yield LocalShard(self.name, self.format, path)


def s3_shards_at(uri: str, formats: Mapping[str, str] = FORMATS) -> Iterator[S3Shard]:
    """The shards of `s3://bucket/key`, or below `s3://bucket/prefix` as below a folder.

    Raises `dataset_missing` when there is nothing or one may not look, `unknown_format`, and
    `storage_unreachable`.
    """
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    if not bucket:
        raise Failure("dataset_missing", f"{uri} names no bucket")
    with as_failures(uri):
        if key and not key.endswith("/"):
            # If the key exists, it is the first one with this prefix.
            answer = client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
            first = next(iter(answer.get("Contents", [])), None)
            if first and first["Key"] == key:
                yield _shard(bucket, key.rpartition("/")[2], first, formats)
                return
        prefix = key if not key or key.endswith("/") else f"{key}/"
        pages = (
            client()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE})
        )
        empty = True
        for page in pages:
            for entry in page.get("Contents", []):
                empty = False
                name = entry["Key"].removeprefix(prefix)
                if not _is_left_out(name):
                    yield _shard(bucket, name, entry, formats)
        if empty:
            raise Failure("dataset_missing", f"there is no object at {uri}")


def _is_left_out(name: str) -> bool:
    """Hidden files and folders, companions, and the empty objects that stand for folders."""
    *folders, file = name.split("/")
    return not file or is_companion(file) or any(part.startswith(".") for part in folders)


def _shard(bucket: str, name: str, entry: dict[str, Any], formats: Mapping[str, str]) -> S3Shard:
    kind = format_of(name, formats)
    if kind is None:
        raise unknown_format(name)
    return S3Shard(name, kind, bucket, entry["Key"], entry["Size"], _plain(entry["ETag"]))


def _plain(etag: str) -> str:
    """An ETag without quotes: rclone's server lists it without and sends it with them."""
    return etag.strip('"')


def download(shard: S3Shard, file: Sink) -> None:
    """Writes the object to an empty file, going on after the last byte when a connection breaks."""
    pauses = iter(PAUSES)
    while (start := file.tell()) < shard.size:
        try:
            with as_failures(shard.address, shard.name):
                _fetch_from(shard, start, file)
        except Failure as failure:
            if failure.code != "storage_unreachable":
                raise
            if file.tell() > start:
                pauses = iter(PAUSES)  # there was progress: the pauses start anew
            pause = next(pauses, None)
            if pause is None:
                raise
            time.sleep(pause)


def _fetch_from(shard: S3Shard, start: int, file: Sink) -> None:
    """Appends the object's bytes from `start` on, as many as one request brings."""
    from botocore.exceptions import FlexibleChecksumError

    span = {"Range": f"bytes={start}-"} if start else {}
    answer = client().get_object(
        Bucket=shard.bucket, Key=shard.key, IfMatch=f'"{shard.etag}"', **span
    )
    # Not every server heeds IfMatch or Range, so what it sends is looked at as well.
    if _plain(answer["ETag"]) != shard.etag or answer["ContentLength"] != shard.size - start:
        raise _changed(shard.name)
    with contextlib.closing(answer["Body"]) as body:
        try:
            for chunk in body.iter_chunks(CHUNK):
                file.write(chunk)
        except FlexibleChecksumError:  # where S3 knows a checksum, boto3 compares it at the end
            file.seek(start)
            file.truncate()
            raise


def _changed(name: str | None) -> Failure:
    said = "the object was replaced after it was listed: start again"
    return Failure("shard_unreadable", said, shard=name)


def client() -> Any:
    """A client of this process: a connection must not be shared with a forked one."""
    return _client_of_process(os.getpid())


@functools.cache
def _client_of_process(_: int) -> Any:
    import boto3
    from botocore.config import Config

    def styled(style: str) -> Any:
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": style},
            retries={"mode": "standard", "max_attempts": 3},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
        )
        return boto3.Session().client("s3", config=config)

    made = styled("auto")
    # Elsewhere than at Amazon there is seldom a host name for every bucket.
    return made if _host(made).endswith(".amazonaws.com") else styled("path")


def _host(made: Any) -> str:
    """The endpoint's host and port, without a user and password that may stand in its address."""
    return str(urlsplit(made.meta.endpoint_url).netloc.rpartition("@")[2])


@contextlib.contextmanager
def as_failures(uri: str, shard: str | None = None) -> Iterator[None]:
    """boto3's exceptions as one sentence; none of its own messages, which may quote a key."""
    from botocore import exceptions as s3_errors

    try:
        yield
    except s3_errors.ClientError as error:
        raise _refused(error, uri, shard) from None
    except (
        s3_errors.NoCredentialsError,
        s3_errors.PartialCredentialsError,
        s3_errors.CredentialRetrievalError,
        s3_errors.ProfileNotFound,
    ):
        said = (
            f"no credentials were found for {uri}: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
        raise Failure("dataset_missing", said) from None
    except s3_errors.ParamValidationError:
        raise Failure("dataset_missing", f"{uri} is no address in S3") from None
    except ValueError:
        raise Failure("storage_unreachable", "AWS_ENDPOINT_URL is no address") from None
    except s3_errors.BotoCoreError as error:
        said = f"S3 at {_host(client())} cannot be reached for {uri} ({type(error).__name__})"
        raise Failure("storage_unreachable", said) from None


def _refused(error: Any, uri: str, shard: str | None) -> Failure:
    """What the server's answer means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in CHANGED:
        return _changed(shard)
    if status >= 500 or code in ("SlowDown", "RequestTimeout", "Throttling"):
        return Failure("storage_unreachable", f"S3 answers {code or status} for {uri}")
    if code in BAD_CREDENTIALS:
        reason = "S3 does not accept the credentials"
    elif code in DENIED or status == 403:
        reason = "access denied"
    else:
        reason = REASONS.get(code, f"S3 answers {code or status}")
    return Failure("dataset_missing", f"{uri}: {reason}", shard=shard)
