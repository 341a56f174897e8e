"""A large body must keep coming, and one that was refused is not waited for.

The front ends a connection that is silent; this ends one that sends a byte now and then.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crucible.paths import SMALL_BODY

PIECE = 65_536  # bytes
SECONDS = 60.0  # for each piece: about 1 KiB a second is fast enough
LOOK = 5.0  # seconds between looks at all bodies on their way

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Pacer:
    """Knows until when the next piece of each body must be here; one thread closes what is late."""

    def __init__(self, seconds: float = SECONDS, look: float = LOOK) -> None:
        self.seconds, self.look = seconds, look
        self._due: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def expect(self, connection: socket.socket) -> None:
        """A piece is awaited from now on."""
        with self._lock:
            self._due[connection] = time.monotonic() + self.seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()

    def arrived(self, connection: socket.socket) -> None:
        """It is here: until the next is awaited, nobody is in a hurry."""
        with self._lock:
            self._due.pop(connection, None)

    def _watch(self) -> None:
        while True:
            time.sleep(self.look)
            with self._lock:
                now = time.monotonic()
                for connection in [key for key, due in self._due.items() if due < now]:
                    del self._due[connection]
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)


class PacedBody:
    """A request's body that is read in pieces, each of which has to arrive in time."""

    def __init__(self, body: Any, connection: socket.socket, pacer: Pacer) -> None:
        self._body, self._connection, self._pacer = body, connection, pacer
        self.taken = 0  # bytes

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while size < 0 or len(found) < size:
            piece = self._one(PIECE if size < 0 else min(PIECE, size - len(found)))
            if not piece:
                break
            found += piece
        return bytes(found)

    def readline(self, size: int = -1) -> bytes:
        return self._one(PIECE if size < 0 else min(PIECE, size), self._body.readline)

    def _one(self, size: int, read: Callable[[int], bytes] | None = None) -> bytes:
        self._pacer.expect(self._connection)
        try:
            piece: bytes = (read or self._body.read)(size)
        finally:
            self._pacer.arrived(self._connection)
        self.taken += len(piece)
        return piece


class CutOff:
    """An answer; when it is sent, the rest of a body that nobody read is cut off.

    gunicorn would wait for it.
    """

    def __init__(
        self, answer: Iterable[bytes], connection: socket.socket, length: int, body: PacedBody
    ) -> None:
        self._answer, self._connection = answer, connection
        self._length, self._body = length, body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        close = getattr(self._answer, "close", None)
        if close is not None:
            close()
        if self._body.taken < self._length:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


def paced(application: Application, pacer: Pacer | None = None) -> Application:
    """The application, with large bodies that must keep coming (gunicorn tells the connection)."""
    pacer = pacer or Pacer()

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        connection = environ.get("gunicorn.socket")
        length = environ.get("CONTENT_LENGTH") or "0"
        if connection is not None and length.isdecimal() and int(length) > SMALL_BODY:
            body = PacedBody(environ["wsgi.input"], connection, pacer)
            environ["wsgi.input"] = body
            return CutOff(application(environ, start_response), connection, int(length), body)
        return application(environ, start_response)

    return serve
