"""Reads a dataset's shards where they lie: from a store that speaks S3, or a folder.

Every byte is asked for under the version or ETag of the manifest, and the reader compares sizes and
hashes. A broken connection is continued after the last byte that came.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit

from submissions.failures import Failure
from submissions.manifest import ManifestEntry, ManifestHead, endpoint_of
from submissions.store_access import StoreAccess
from submissions.store_http import Refusal, get

CHUNK = 2**20
PAUSES = (
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
    15.0,
    30.0,
    60.0,
)  # seconds before each further attempt that brought nothing
SKEWED = ("RequestTimeTooSkewed", "RequestExpired", "ExpiredPresignRequest", "RequestNotReadyYet")
CHANGED = ("PreconditionFailed", "InvalidRange", "NoSuchVersion")
GONE = ("NoSuchKey", "NoSuchBucket", "NoSuchUpload")
BAD_KEY = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
BUSY = ("SlowDown", "RequestTimeout", "Throttling", "InternalError", "ServiceUnavailable")
ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed",
             "IllegalLocationConstraintException", "TemporaryRedirect")  # fmt: skip
TOLERATED = 15 * 60  # seconds that clocks may differ: S3's rule


class Store(Protocol):
    """Where a manifest's shards lie."""

    def chunks(self, entry: ManifestEntry) -> Iterator[bytes]:
        """The bytes of a shard in order. They may be others than promised: that is for the reader.

        Raises `shard_unreadable` for one that changed, `dataset_missing` for one that is gone or
        may not be read, `store_refused` and `storage_unreachable`.
        """


def store_of(head: ManifestHead, access: StoreAccess) -> Store:
    """The store of a manifest; raises `store_refused` where it may not be read from."""
    return S3Store(head, access) if head.in_s3 else FolderStore(head, access)


class S3Store:
    """Objects of a bucket, by path-style addresses at the manifest's endpoint, or presigned."""

    def __init__(self, head: ManifestHead, access: StoreAccess) -> None:
        if head.endpoint not in access.endpoints:
            raise Failure("store_refused", f"this site does not read from {head.endpoint}")
        self.head, self.access = head, access

    def chunks(self, entry: ManifestEntry) -> Iterator[bytes]:
        """See `Store`."""
        place, pauses = 0, iter(PAUSES)
        while True:
            began = place
            try:
                for chunk in self._once(entry, place):
                    place += len(chunk)
                    yield chunk
                if place >= entry.size:
                    return
                failure = Failure("storage_unreachable", "the store ended the connection early")
            except Failure as raised:
                if raised.code != "storage_unreachable":
                    raise
                failure = raised
            if place > began:
                pauses = iter(PAUSES)  # there was progress: the pauses start anew
            pause = next(pauses, None)
            if pause is None:
                raise Failure(failure.code, failure.message, shard=entry.name)
            time.sleep(pause)

    def _once(self, entry: ManifestEntry, start: int) -> Iterator[bytes]:
        """What one request brings of the bytes from `start` on."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        if entry.etag:
            headers["If-Match"] = f'"{entry.etag}"'
        url = self._presigned(entry) if entry.url else self._address(entry)
        if not entry.url:
            headers = self._signed(url, headers)
        try:
            with get(url, headers, self.access.networks) as answer:
                self._check(entry, start, answer.headers)
                yield from answer.chunks(CHUNK)
        except Refusal as refusal:
            raise self._failure(entry, refusal) from None

    def _check(self, entry: ManifestEntry, start: int, headers: Mapping[str, str]) -> None:
        """Not every server heeds If-Match or Range, so what it sends is looked at as well."""
        etag = headers.get("etag", "").strip('"')
        if headers.get("content-length") != str(entry.size - start) or (
            entry.etag and etag and etag != entry.etag
        ):
            raise changed(entry)

    def _presigned(self, entry: ManifestEntry) -> str:
        """The entry's URL, if it is of an allowed endpoint: its host, or its bucket's."""
        if not belongs(entry.url, self.head.endpoint):
            said = f"its url does not lead to {self.head.endpoint}"
            raise Failure("store_refused", said, shard=entry.name)
        return entry.url

    def _address(self, entry: ManifestEntry) -> str:
        key = quote(f"{self.head.bucket}/{self.head.prefix}{entry.name}", safe="/~")
        version = urlencode({"versionId": entry.version_id}) if entry.version_id else ""
        return f"{self.head.endpoint}/{key}" + (f"?{version}" if version else "")

    def _signed(self, url: str, headers: dict[str, str]) -> dict[str, str]:
        """The headers with a signature; without a key as they are, for a public bucket."""
        key = self.access.credentials
        if key is None:
            return headers
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request = AWSRequest("GET", url, headers=headers)
        pair = Credentials(key.access_key_id, key.secret_access_key, key.session_token or None)
        S3SigV4Auth(pair, "s3", self.head.region or "us-east-1").add_auth(request)
        return dict(request.headers.items())

    def _failure(self, entry: ManifestEntry, refusal: Refusal) -> Failure:
        """What the store's answer means, in one sentence that names the shard."""
        code, status = refusal.code, refusal.status
        if code in CHANGED or status in (412, 416):
            return changed(entry)
        if code in BUSY or status >= 500:
            said = f"the store {self.head.endpoint} answers {code or status}"
            return Failure("storage_unreachable", said, shard=entry.name)
        skewed = abs(refusal.clock or 0) > TOLERATED and status in (400, 403)
        if (code in SKEWED or skewed) and not entry.url:
            minutes = abs(round((refusal.clock or 0) / 60))
            said = (
                f"this machine's clock and that of {self.head.endpoint} are {minutes} minutes "
                "apart: set this machine's clock"
            )
            return Failure("storage_unreachable", said, shard=entry.name)
        return Failure("dataset_missing", self._reason(entry, refusal), shard=entry.name)

    def _reason(self, entry: ManifestEntry, refusal: Refusal) -> str:
        code, status = refusal.code, refusal.status
        if code in ELSEWHERE or 300 <= status < 400:
            return "the store redirects, which is not followed: make the manifest with its endpoint"
        if code in GONE or status == 404:
            return "there is no such object any more"
        if entry.url and (code in SKEWED or "expire" in refusal.text.lower()):
            return "its presigned url is not valid now: make the manifest again with --presign"
        if code in BAD_KEY:
            return "the store does not accept the store key"
        if status in (401, 403):
            return "the store lists this object and does not let it be read: access denied"
        return f"the store answers {code or status}"


class FolderStore:
    """Files below a folder of this machine that the organiser allows."""

    def __init__(self, head: ManifestHead, access: StoreAccess) -> None:
        self.root = folder_allowed(head.folder, access.folders)

    def chunks(self, entry: ManifestEntry) -> Iterator[bytes]:
        """See `Store`."""
        descriptor = self._open(entry)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise Failure("dataset_missing", "this is no regular file", shard=entry.name)
            if about.st_size != entry.size:
                raise changed(entry)
            while chunk := file.read(CHUNK):
                yield chunk

    def _open(self, entry: ManifestEntry) -> int:
        """Opens the file folder by folder and follows no link: each could lead out."""
        *folders, name = entry.name.split("/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            at = os.open(self.root, flags | os.O_DIRECTORY)
            for part in folders:
                above, at = at, os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
                os.close(above)
            try:
                return os.open(name, flags, dir_fd=at)
            finally:
                os.close(at)
        except OSError as error:
            reason = (error.strerror or "it cannot be opened").lower()
            said = f"the file cannot be read ({reason}); links are not followed"
            raise Failure("dataset_missing", said, shard=entry.name) from None


def folder_allowed(folder: Path, allowed: tuple[str, ...]) -> Path:
    """The folder without links in its path, if it lies in an allowed one; else `store_refused`."""
    real = folder.resolve()
    if not any(real.is_relative_to(Path(root).resolve()) for root in allowed):
        raise Failure("store_refused", f"this site does not read from the folder {folder}")
    return real


def belongs(url: str, endpoint: str) -> bool:
    """Whether a URL is of that endpoint, or of a bucket's own host name below it."""
    own, parts = endpoint_of(url), urlsplit(endpoint)
    scheme, _, rest = own.partition("://")
    host = rest.rpartition("@")[2]
    return bool(own) and (
        own == endpoint or (scheme == parts.scheme and host.endswith(f".{parts.netloc}"))
    )


def changed(entry: ManifestEntry) -> Failure:
    """The object or file is another one than that of the manifest."""
    said = "it is not what the manifest says: it was replaced, or the manifest is of other data"
    return Failure("shard_unreadable", said, shard=entry.name)
