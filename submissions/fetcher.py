"""Fetches shards for a job that has no network: `python -m submissions.fetcher MANIFEST ACCESS AT`.

Runs beside the job and outside of its cage, and alone knows the store key. It listens at the socket
AT in the job's scratch folder. A reader names a shard of the manifest, nothing else can be asked
for, and gets its bytes in frames: a letter, a length, and what the letter means.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from submissions.codec import decode
from submissions.failures import Failure, FailureDocument
from submissions.job import as_failure
from submissions.manifest import ManifestEntry, read_manifest
from submissions.store_access import read_access
from submissions.stores import Store, store_of

SOCKET = "store.sock"
FRAME = struct.Struct(">cI")
DATA, END, FAILED = b"D", b"E", b"F"
MAX_FRAME = 2 * 2**20
MAX_REQUEST = 4096  # bytes of a name
MOST = 64  # readers at once
PATIENCE = 600.0  # seconds that a reader may take for one piece, and the fetcher for the next


def main(arguments: list[str] | None = None) -> int:
    """Serves until it is killed."""
    manifest, access, at = map(Path, sys.argv[1:] if arguments is None else arguments)
    with listening(at) as server:
        failure: Failure | None = None
        entries: dict[str, ManifestEntry] = {}
        store: Store | None = None
        try:
            found = read_manifest(manifest)
            entries = {entry.name: entry for entry in found.entries}
            store = store_of(found.head, read_access(access))
        except Exception as error:  # said to whoever asks: the job then ends with it
            failure = as_failure(error)
        places = threading.Semaphore(MOST)
        while True:
            reader, _ = server.accept()
            places.acquire()
            threading.Thread(
                target=_serve, args=(reader, entries, store, failure, places), daemon=True
            ).start()


@contextlib.contextmanager
def listening(at: Path) -> Iterator[socket.socket]:
    """A socket at that path, however long the path is; who finds it there can connect."""
    begun = at.with_name(f"{at.name}.begun")  # a socket is refused between `bind` and `listen`
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server, _short(begun) as short:
        begun.unlink(missing_ok=True)
        server.bind(short)
        server.listen(MOST)
        begun.replace(at)
        yield server


def fetched_chunks(at: Path, entry: ManifestEntry) -> Iterator[bytes]:
    """For the job: the bytes of a shard as the fetcher at that socket sends them.

    Raises the failure that the fetcher reports, and `storage_unreachable` when it has gone.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        try:
            with _short(at) as short:
                connection.connect(short)
            connection.sendall(entry.name.encode() + b"\n")
            while True:
                kind, length = FRAME.unpack(_exactly(connection, FRAME.size))
                if kind == END or length > MAX_FRAME:
                    break
                content = _exactly(connection, length)
                if kind == FAILED:
                    raise Failure.of(
                        decode(FailureDocument, content, code="internal_error", where="the fetcher")
                    )
                yield content
        except (OSError, EOFError):
            said = "the process that fetches for this job does not answer"
            raise Failure("storage_unreachable", said, shard=entry.name) from None


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Another way to write the path: the address of a socket has 107 bytes at most."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _serve(
    reader: socket.socket,
    entries: dict[str, ManifestEntry],
    store: Store | None,
    failure: Failure | None,
    places: threading.Semaphore,
) -> None:
    """Answers one reader, who may go away at any time."""
    try:
        with reader, contextlib.suppress(OSError, EOFError):
            reader.settimeout(PATIENCE)
            name = _line(reader)
            try:
                if failure is not None or store is None:
                    raise failure or Failure("internal_error", "there is no store")
                if name not in entries:
                    raise Failure("store_refused", "the manifest names no such shard")
                for chunk in store.chunks(entries[name]):
                    _send(reader, DATA, chunk)
                _send(reader, END, b"")
            except Failure as raised:
                _send(reader, FAILED, msgspec.json.encode(raised.document))
    finally:
        places.release()


def _send(reader: socket.socket, kind: bytes, content: bytes) -> None:
    reader.sendall(FRAME.pack(kind, len(content)))
    reader.sendall(content)


def _line(reader: socket.socket) -> str:
    """The name that is asked for; an empty one for what is none."""
    asked = b""
    while not asked.endswith(b"\n"):
        more = reader.recv(MAX_REQUEST)
        asked += more
        if not more or len(asked) > MAX_REQUEST:
            return ""
    return asked[:-1].decode(errors="replace")


def _exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes; raises EOFError when there are fewer."""
    content = bytearray(size)
    view = memoryview(content)
    while view:
        got = connection.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return bytes(content)


if __name__ == "__main__":
    sys.exit(main())
