"""The documents of one input of `crucible curate`: a shard, or a WARC or WET file of a crawl.

A record of a WARC counts as a line. What is cut off is a failure and no shorter file.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any

from submissions.curation.step import Document
from submissions.documents import read_bytes, read_objects, read_parquet
from submissions.failures import Failure
from submissions.shards import LocalShard

LARGEST_PAGE = 10 * 2**20  # bytes; what is longer is read past: no extractor needs to see it
LONGEST_HEADER = 2**20  # bytes
LONGEST_URL = 2_000  # characters
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[^\r\n]{0,100}\r\n")
_DECODED = {"", "identity", "gzip", "x-gzip", "deflate"}


def read_input(shard: LocalShard) -> Iterator[Document]:
    """The documents in order, in bounded memory; a `Failure` names the shard and the line."""
    if shard.format.startswith("warc"):
        yield from _records(shard)
    elif shard.format == "parquet":
        for row in read_parquet(shard.path, shard.name):
            yield Document(row.line, row.text)
    else:
        compression = shard.format.removeprefix("jsonl").lstrip(".")
        for line, fields in read_objects(shard, compression):
            yield Document(line, fields.pop("text"), fields)


def _records(shard: LocalShard) -> Iterator[Document]:
    """HTML responses of a WARC as pages, conversions of a WET file as texts; others are passed."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    stream = _Stream(read_bytes(shard, shard.format.removeprefix("warc").lstrip(".")))
    number = found = 0
    try:
        # The library takes a file that is cut off as complete: the lengths are compared here.
        for record in ArchiveIterator(
            stream, parse_http=True, max_header_len=LONGEST_HEADER, fsspec_args=False,
            stream_detect=False,
        ):  # fmt: skip
            number += 1
            body = record.reader.read(LARGEST_PAGE + 1)
            size = len(body) + (record.reader.consume() if len(body) > LARGEST_PAGE else 0)
            if size < record.content_length or "Content-Length" not in record.headers:
                said = "the file ends in the middle of this record"
                raise stream.failure or _at(Failure("shard_truncated", said), shard, number)
            made = None
            if record.record_type == WarcRecordType.conversion:
                made = _text(record, body, number)
            elif record.record_type == WarcRecordType.response and record.is_http:
                made = _page(record, body, number)
            if made is not None:
                found += 1
                yield made
    except (OSError, ValueError) as error:
        broken = Failure("shard_corrupt", f"the record cannot be read: {str(error)[:200]}")
        raise stream.failure or _at(broken, shard, number + 1) from None
    if stream.failure:
        raise stream.failure
    if not found:
        raise Failure("shard_empty", "the file holds no HTML page and no text", shard=shard.name)


def _at(failure: Failure, shard: LocalShard, record: int) -> Failure:
    return Failure(failure.code, failure.message, shard=shard.name, line=record)


def _text(record: Any, body: bytes, number: int) -> Document:
    document = Document(number, body[:LARGEST_PAGE].decode(errors="replace"), _fields(record))
    if len(body) > LARGEST_PAGE:
        document.fault = "larger than 10 MiB"
    return document


def _page(record: Any, body: bytes, number: int) -> Document | None:
    """None for what is no HTML, such as an image."""
    kind = (record.http_content_type or "").lower()
    if "html" not in kind and kind:
        return None
    document = Document(number, "", _fields(record), b"", record.http_charset or "")
    if len(body) > LARGEST_PAGE:
        document.fault = "page larger than 10 MiB"
        return document
    try:
        document.page = _decoded(record, body)
    except (ValueError, zlib.error):
        document.fault = "transfer encoding that cannot be undone"
    return document


def _fields(record: Any) -> dict[str, Any]:
    url = record.headers.get("WARC-Target-URI") or ""
    return {"url": url.strip("<>")[:LONGEST_URL].encode(errors="replace").decode()}


def _decoded(record: Any, body: bytes) -> bytes:
    """The page without the encodings of its transfer; ValueError for one that is not known."""
    headers = record.http_headers
    if (headers.get("Transfer-Encoding") or "").lower() == "chunked":
        body = _unchunked(body)
    encoding = (headers.get("Content-Encoding") or "").lower().strip()
    if encoding not in _DECODED:
        raise ValueError(encoding)
    if encoding in {"", "identity"}:
        return body
    # Common Crawl keeps the header and stores the page decoded.
    if not body.startswith(b"\x1f\x8b") and encoding != "deflate":
        return body
    unpacked = zlib.decompressobj(wbits=47 if encoding != "deflate" else 15)
    page = unpacked.decompress(body, LARGEST_PAGE)
    if unpacked.unconsumed_tail:
        raise ValueError("too large")
    return page


def _unchunked(body: bytes) -> bytes:
    parts, place = [], 0
    while head := _CHUNK_SIZE.match(body, place):
        size = int(head[1], 16)
        if not size:
            break
        parts.append(body[head.end() : head.end() + size])
        place = head.end() + size + 2
    return b"".join(parts) if parts else body  # stored without its chunks: as it is


class _Stream:
    """The chunks of a shard as a file that the library reads, ahead of the record it gives.

    So a failure in them is kept, and the file seems to end there.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self._given = 0
        self.failure: Failure | None = None

    def read(self, size: int = LARGEST_PAGE) -> bytes:
        """At most `size` bytes, none at the end."""
        if not self._held:
            try:
                self._held = next((chunk for chunk in self._chunks if chunk), b"")
            except Failure as failure:
                self.failure = failure
        given, self._held = self._held[:size], self._held[size:]
        self._given += len(given)
        return given

    def tell(self) -> int:
        """Bytes that were read."""
        return self._given

    def seek(self, offset: int, whence: int = 0) -> int:
        """Never: what comes from a decompressor is read once."""
        raise OSError(f"cannot seek to {offset} from {whence}")

    def close(self) -> None:
        """Nothing: the file is the shard reader's."""
