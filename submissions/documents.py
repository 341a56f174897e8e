"""Reads documents out of one shard, streaming, and refuses the first malformed one by its line.

Rules for JSON lines: one object a line, UTF-8 without a byte order mark, `text` a string without
half surrogate pairs; other keys are ignored and of a repeated key the last one counts. Lines of
white space are skipped but counted, so that a line's number is the one an editor shows. An empty
`text` and an escaped NUL (`\\u0000`) are allowed. In a parquet shard a line is a row, from 1.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import orjson

from submissions.expansion import Expansion
from submissions.failures import Failure

MAX_LINE = 64 * 2**20  # bytes; bounds memory whatever the input, and no document of prose is longer
CHUNK = 2**20  # bytes of decompressed data that are looked at together
# A block of 128 KiB can be written in 4 bytes, so this many compressed bytes give at most 32 MiB:
# however often a decompression bomb is larger than its file, no more is ever held.
ZSTD_CHUNK = 1024
ZSTD_HEADER = 18  # bytes of a frame's header at most
MAX_WINDOW = 512 * 2**20  # bytes that a frame may look back, as `zstd --long=29` writes it
URL_KEYS = ("url", "WARC-Target-URI", "uri")
MAX_URL = 2_000  # characters; a longer one is left out
MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "parquet",
    b"PK\x03\x04": "zip",
}


class Document(NamedTuple):
    """One document: its line in the shard (from 1), its text, and its address where it has one."""

    line: int
    text: str
    url: str = ""


class Readable(Protocol):
    """A shard whose bytes can be read in order; `bytes` of them."""

    @property
    def name(self) -> str: ...

    @property
    def bytes(self) -> int: ...

    def opened(self) -> contextlib.AbstractContextManager[BinaryIO]:
        """A buffered file that need not be able to seek."""


def read_jsonl(shard: Readable, compression: str) -> Iterator[Document]:
    """The documents of a JSON-lines shard; `compression` is "", "gz" or "zst".

    Raises a `Failure` that names the shard and, where there is one, the line.
    """
    for number, fields in read_objects(shard, compression):
        yield Document(number, fields["text"], url_of(fields))


def read_objects(shard: Readable, compression: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same documents as (line, all keys), of which `text` is a string."""
    found, name = False, shard.name
    for number, line, terminated in numbered_lines(read_bytes(shard, compression), name):
        if not line.strip():
            continue
        found = True
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise _explain(error, line, terminated, name, number) from None
        text = document.get("text") if type(document) is dict else None
        if type(text) is not str:
            raise _no_text(document, name, number)
        yield number, document
    if not found:
        raise Failure("shard_empty", "the shard holds no document", shard=name)


def url_of(document: dict[str, Any]) -> str:
    """The address of a page under one of URL_KEYS, or of those of its `metadata`; or nothing."""
    for holder in (document, document.get("metadata")):
        if type(holder) is dict:
            for key in URL_KEYS:
                found = holder.get(key)
                if type(found) is str and 0 < len(found) <= MAX_URL:
                    return found
    return ""


def read_parquet(path: Path, name: str) -> Iterator[Document]:
    """The rows of a parquet shard's column `text`, in order; their addresses are not read."""
    from submissions.parquet import texts

    row = 0
    with _as_shard_failures(name):
        for row, text in enumerate(texts(path, name), start=1):
            if text is None:
                raise Failure("text_not_a_string", '"text" is null', shard=name, line=row)
            yield Document(row, text)
    if row == 0:
        raise Failure("shard_empty", "the shard holds no document", shard=name)


def read_bytes(shard: Readable, compression: str) -> Iterator[bytes]:
    """The decompressed bytes of a JSON-lines shard, at most CHUNK at a time.

    Fails at a missing end, and where they are too many for such a small file (expansion.py).
    """
    name = shard.name
    with _as_shard_failures(name), shard.opened() as file:
        start = file.peek(4)[:4]  # type: ignore[attr-defined]  # a buffered file has it
        if not start:
            raise Failure("shard_empty", "the file is empty", shard=name)
        expansion = Expansion(name, shard.bytes)
        if compression == "gz":
            chunks = _gzip_chunks(file, name)
        elif compression == "zst":
            chunks = _zstd_chunks(file, name)
        else:
            for magic, kind in MAGICS.items():
                if start.startswith(magic):
                    raise Failure(
                        "shard_corrupt", f"the file is {kind} data, but its name says .jsonl",
                        shard=name,
                    )  # fmt: skip
            chunks = iter(lambda: file.read(CHUNK), b"")
        for whole in chunks:
            for place in range(0, len(whole), CHUNK):
                chunk = whole[place : place + CHUNK]
                expansion.add(len(chunk), chunk.count(b"\n") if compression else 0)
                yield chunk


def _gzip_chunks(file: BinaryIO, name: str) -> Iterator[bytes]:
    with gzip.open(file) as stream:
        try:
            while chunk := stream.read(CHUNK):
                yield chunk
        except EOFError:
            raise _cut_off(name, "gzip") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise _damaged(name, "gzip", error) from None


def _zstd_chunks(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Every frame of a zstd file, each of which must reach its end.

    zstandard's stream_reader takes a truncated file as complete (measured with 0.25.0); only
    decompressobj says whether the end of a frame was seen, and it stops there, so that the frames
    which follow get one each.
    """
    import zstandard

    frame = None
    while block := file.read(ZSTD_CHUNK):
        while block:
            if frame is None:
                if len(block) < ZSTD_HEADER:
                    block += file.read(ZSTD_HEADER)
                _check_frame(block, name)
                frame = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
            try:
                yield frame.decompress(block)
            except zstandard.ZstdError as error:
                raise _damaged(name, "zstd", error) from None
            block = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = None
    if frame is not None:
        raise _cut_off(name, "zstd")


def _check_frame(block: bytes, name: str) -> None:
    """Refuses what a frame's header says that it needs and this reader does not have."""
    import zstandard

    try:
        header = zstandard.get_frame_parameters(block)
    except zstandard.ZstdError:
        return  # no frame, or one to skip: decompressing it says so
    if header.dict_id:
        said = (
            f"the zstd data was compressed with the dictionary {header.dict_id}, which is not in "
            "the file: compress it without one"
        )
        raise Failure("shard_corrupt", said, shard=name)
    if header.window_size > MAX_WINDOW:
        said = (
            f"the zstd data needs a window of {header.window_size / 2**20:,.0f} MiB and may need "
            f"{MAX_WINDOW / 2**20:g}: compress it with `zstd --long={MAX_WINDOW.bit_length() - 1}` "
            "or less"
        )
        raise Failure("expands_too_much", said, shard=name)


def numbered_lines(chunks: Iterator[bytes], name: str) -> Iterator[tuple[int, bytes, bool]]:
    """(number from 1, line without its newline, whether a newline ended it) of a byte stream.

    Raises `line_too_long`.
    """
    number = 0
    parts: list[bytes] = []  # of the line that is still open; joined once, not chunk by chunk
    held = 0
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        held += len(first)
        for following in rest:
            if held > MAX_LINE:
                raise _too_long(name, number + 1)
            number += 1
            yield number, b"".join(parts), True
            parts, held = [following], len(following)
        if held > MAX_LINE:
            raise _too_long(name, number + 1)
    if held:
        yield number + 1, b"".join(parts), False


def _explain(
    error: orjson.JSONDecodeError, line: bytes, terminated: bool, name: str, number: int
) -> Failure:
    """What is wrong with a line that is not JSON, as precisely as can be said."""
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        code, said = "not_utf8", "the file is UTF-16; write it as UTF-8"
    elif line.startswith(b"\xef\xbb\xbf"):
        code, said = "not_utf8", "the line begins with a byte order mark; write UTF-8 without one"
    elif (broken := _utf8_error(line)) is not None:
        cut = not terminated and broken.reason == "unexpected end of data"
        code = "shard_truncated" if cut else "not_utf8"
        said = "the last line is cut off" if cut else f"byte {broken.start + 1} is not UTF-8"
    elif b"\0" in line:
        code, said = (
            "not_json",
            "the line holds NUL bytes, as a file does that was not fully written",
        )
    elif "surrogate" in error.msg:
        code, said = "not_utf8", f"half a surrogate pair is escaped before column {error.pos + 1}"
    elif not terminated and error.msg == "unexpected end of data":
        code, said = "shard_truncated", "the last line is cut off"
    else:
        code, said = "not_json", f"the line is not JSON: {error.msg} at column {error.pos + 1}"
    return Failure(code, said, shard=name, line=number)


def _utf8_error(line: bytes) -> UnicodeDecodeError | None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error
    return None


def _no_text(document: Any, name: str, number: int) -> Failure:
    """Why a line that is JSON is no document."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false",
             int: "a number", float: "a number", type(None): "null"}  # fmt: skip
    if not isinstance(document, dict):
        said = f"the line is {kinds[type(document)]}, not an object"
        return Failure("not_an_object", said, shard=name, line=number)
    if "text" not in document:
        keys = ", ".join(key[:40] for key in list(document)[:8]) or "none"
        said = f'the document has no key "text" (keys: {keys})'
        return Failure("text_missing", said, shard=name, line=number)
    said = f'"text" is {kinds[type(document["text"])]}, not a string'
    return Failure("text_not_a_string", said, shard=name, line=number)


def _too_long(name: str, line: int) -> Failure:
    said = f"the line is longer than {MAX_LINE / 2**20:g} MiB"
    return Failure("line_too_long", said, shard=name, line=line)


def _cut_off(name: str, kind: str) -> Failure:
    return Failure("shard_truncated", f"the {kind} data ends before its end mark", shard=name)


def _damaged(name: str, kind: str, error: Exception) -> Failure:
    said = f"the {kind} data is damaged or followed by other bytes: {_first_line(error)}"
    return Failure("shard_corrupt", said, shard=name)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


@contextlib.contextmanager
def _as_shard_failures(name: str) -> Iterator[None]:
    """A file that the system does not let us read is a failure of that shard."""
    try:
        yield
    except OSError as error:
        said = f"the file cannot be read: {error.strerror or error}"
        raise Failure("shard_unreadable", said, shard=name) from None
