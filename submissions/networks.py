"""Which addresses a name that somebody else chose may lead to: public ones, and what is opened.

A name is resolved once and every one of its addresses is judged. The caller connects to the address
that is returned, so that a name which points elsewhere a moment later has no effect.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Special-purpose networks (IANA's registries) that Python, depending on its version, calls global:
# some lead to IPv4 addresses that may be private, others exist only inside a network.
SPECIAL = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",
        "64:ff9b::/96", "64:ff9b:1::/48", "100::/48", "2001::/23", "2002::/16", "2620:4f:8000::/48",
        "3fff::/20", "5f00::/16", "fec0::/10",
    )
]  # fmt: skip


class NameUnknownError(Exception):
    """The name cannot be resolved, now at least."""


class NotPublicError(Exception):
    """The name has an address that is neither public nor opened."""


def is_opened(address: Address, opened: Sequence[str]) -> bool:
    """Whether the address lies in one of these networks (CIDR)."""
    return any(address in ipaddress.ip_network(network) for network in opened)


def may_be_reached(address: Address, opened: Sequence[str]) -> bool:
    """Whether it is a public address, or in a network that the organiser opened."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if is_opened(address, opened):
        return True
    if any(address in network for network in SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def resolved(host: str, port: int, opened: Sequence[str]) -> str:
    """The address to connect to; raises `NameUnknownError` and `NotPublicError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NameUnknownError(host) from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
    if not addresses or not all(may_be_reached(address, opened) for address in addresses):
        raise NotPublicError(host)
    return str(addresses[0])
