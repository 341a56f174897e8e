"""kombu's broker in PostgreSQL, repaired so that a lost acknowledgement does no harm.

A worker has a limited number of places for unacknowledged messages. If an acknowledgement does not
reach the database, kombu's transport for pgmq (5.7.0) reconnects silently and never frees the
place. Once all places are lost, in one crash of the database or in several, the worker takes no
message any more.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, pgmq


class Channel(pgmq.Channel):
    """Frees the place in any case; the broker delivers the message again after its time-out."""

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        try:
            super().basic_ack(delivery_tag, multiple)  # type: ignore[no-untyped-call]
        except pgmq.Transport.connection_errors:
            self.qos.ack(delivery_tag)
            raise

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().basic_reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]
        except pgmq.Transport.connection_errors:
            self.qos.ack(delivery_tag)
            raise


class Transport(pgmq.Transport):
    """The transport of `pgmq://` after `install`."""

    Channel: Any = Channel


def install() -> None:
    """Registers it in this process; kombu looks the name up when it connects."""
    TRANSPORT_ALIASES["pgmq"] = f"{__name__}:Transport"
