"""The address from which a request comes, which the sender must not be able to choose."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

UNKNOWN = "0.0.0.0"  # noqa: S104 - no address to listen at; what a socket without addresses gives


def client_address(request: HttpRequest) -> str:
    """The nearest address that is none of our proxies.

    `X-Forwarded-For` counts only where a proxy of `CRUCIBLE_PROXIES` wrote it: each proxy appends
    whom it heard from, so the list is read from its end, as long as the one before is ours.
    """
    nearest = _address(request.META.get("REMOTE_ADDR", ""))
    if nearest is None:
        return UNKNOWN
    said = request.headers.get("X-Forwarded-For", "")
    for word in reversed(said.split(",")):
        if not _is_ours(nearest):
            break
        before = _address(word)
        if before is None:
            break
        nearest = before
    return str(nearest)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_ours(address: IPv4Address | IPv6Address) -> bool:
    return any(address in ip_network(name, strict=False) for name in settings.CRUCIBLE_PROXIES)
