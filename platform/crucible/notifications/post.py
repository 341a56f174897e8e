"""POSTs to an address that a user chose, but never to one inside this network.

The name is resolved once, all its addresses must be public, and the connection goes to the address
that was checked: a name that points elsewhere a moment later has no effect. Redirects are not
followed. An organiser may allow private networks: CRUCIBLE_WEBHOOK_NETWORKS.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from urllib.parse import urlsplit

from django.conf import settings

from submissions import networks

TIMEOUT = 5.0  # seconds for each step
DEADLINE = 15.0  # seconds for the whole exchange: a peer that answers slowly is cut off


class Unreachable(Exception):
    """The delivery failed; the text gives the reason, without any text of the peer."""


def may_be_reached(address: networks.Address) -> bool:
    """Whether it is a public address, or in a network that the organiser allowed."""
    return networks.may_be_reached(address, settings.CRUCIBLE_WEBHOOK_NETWORKS)


def _resolve(host: str, port: int) -> str:
    """The address to connect to; refused if any address of the name is not public."""
    try:
        return networks.resolved(host, port, settings.CRUCIBLE_WEBHOOK_NETWORKS)
    except networks.NameUnknownError as error:
        raise Unreachable("the name cannot be resolved") from error
    except networks.NotPublicError as error:
        raise Unreachable("the name has an address that is not public") from error


def post(url: str, body: bytes, headers: dict[str, str]) -> None:
    """Delivers, or raises `Unreachable`. An answer from 200 to 299 counts as received."""
    try:
        parts = urlsplit(url)
        host, tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
    except ValueError as error:
        raise Unreachable("the address is not valid") from error
    pinned = _resolve(host, port)
    opened = settings.CRUCIBLE_WEBHOOK_NETWORKS
    if not tls and not networks.is_opened(ipaddress.ip_address(pinned), opened):
        raise Unreachable("only https:// addresses are allowed")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    connection = kind(host, port, timeout=TIMEOUT)
    try:
        connection.sock = _connect(pinned, port, host if tls else None)
        status = _exchange(connection, target, body, headers)
    except (UnicodeError, http.client.InvalidURL) as error:
        raise Unreachable("the address is not valid") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"no answer ({type(error).__name__})") from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise Unreachable(f"the answer was {status}")


def _connect(address: str, port: int, tls_name: str | None) -> socket.socket:
    plain = socket.create_connection((address, port), timeout=TIMEOUT)
    if tls_name is None:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=tls_name)
    except BaseException:
        plain.close()
        raise


def _exchange(
    connection: http.client.HTTPConnection, target: str, body: bytes, headers: dict[str, str]
) -> int:
    opened = connection.sock

    def cut() -> None:
        with contextlib.suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(DEADLINE, cut)
    watch.daemon = True
    watch.start()
    try:
        connection.request("POST", target, body, headers)
        return int(connection.getresponse().status)
    finally:
        watch.cancel()
