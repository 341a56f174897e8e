"""One GET of a store over HTTP: to the address that was judged, without redirects or proxies.

Nothing of an answer is believed but its status, a few headers and the name of its error.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from submissions import networks
from submissions.failures import Failure
from submissions.manifest import endpoint_of

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds
ERROR_BODY = 64 * 2**10  # bytes of an error's text that are looked at
ERROR_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
ERROR_TEXT = re.compile(rb"<Message>([^<]{1,300})</Message>")


class Refusal(Exception):
    """The store answered with an error: its status, code, and how far its clock is from ours."""

    def __init__(self, status: int, code: str, text: str, clock: float | None) -> None:
        super().__init__(status, code)
        self.status, self.code, self.text, self.clock = status, code, text, clock


class Answer:
    """A good answer: headers by lower-case name, and the body in pieces."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def chunks(self, size: int) -> Iterator[bytes]:
        """The body; ends early, without an error, where the connection does."""
        while chunk := self._response.read(size):
            yield chunk


@contextlib.contextmanager
def get(url: str, headers: Mapping[str, str], opened: Sequence[str]) -> Iterator[Answer]:
    """The answer of 200 or 206; `opened` are networks that are not public and may be reached.

    Raises `Refusal` for any other answer, `store_refused` for an address that may not be reached,
    and `storage_unreachable` where nobody answers.
    """
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port, shown = parts.port or (443 if tls else 80), endpoint_of(url)
    try:
        pinned = networks.resolved(host, port, opened)
    except networks.NameUnknownError:
        raise away(shown, "its name cannot be resolved") from None
    except networks.NotPublicError:
        said = f"{shown} has an address that is not public, and the organiser has not opened it"
        raise Failure("store_refused", said) from None
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, port)
    try:
        connection.sock = _connect(pinned, port, host if tls else None)
        connection.request("GET", target, headers={"Accept-Encoding": "identity", **headers})
        response = connection.getresponse()
        if response.status not in (200, 206):
            raise _refusal(response)
        yield Answer(response)
    except ssl.SSLCertVerificationError:
        raise away(shown, "its certificate is not valid for that name") from None
    except (OSError, http.client.HTTPException) as error:
        raise away(shown, type(error).__name__) from None
    finally:
        connection.close()


def away(shown: str, reason: str) -> Failure:
    """The store does not answer: nobody's data is at fault."""
    return Failure("storage_unreachable", f"the store {shown} cannot be reached ({reason})")


def _connect(address: str, port: int, tls_name: str | None) -> socket.socket:
    plain = socket.create_connection((address, port), timeout=CONNECT_TIMEOUT)
    try:
        plain.settimeout(READ_TIMEOUT)
        if tls_name is None:
            return plain
        return ssl.create_default_context().wrap_socket(plain, server_hostname=tls_name)
    except BaseException:
        plain.close()
        raise


def _refusal(response: http.client.HTTPResponse) -> Refusal:
    body = response.read(ERROR_BODY)
    code, text = ERROR_CODE.search(body), ERROR_TEXT.search(body)
    clock = None
    with contextlib.suppress(TypeError, ValueError):
        said = email.utils.parsedate_to_datetime(response.getheader("Date") or "")
        clock = said.timestamp() - time.time()
    return Refusal(
        response.status,
        code[1].decode() if code else "",
        text[1].decode(errors="replace") if text else "",
        clock,
    )
