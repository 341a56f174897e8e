"""The broker in PostgreSQL as kombu has it, except that a lost acknowledgement costs nothing.

A worker takes so many messages before it has acknowledged the first; kombu's transport for pgmq
(5.7.0) keeps the place of one whose acknowledgement did not reach the database. The connection is
then renewed without a word, so that a worker which loses as many acknowledgements as it has places,
in one crash of the database or in several, would never take a message again.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, pgmq


class Channel(pgmq.Channel):
    """Gives the place free in any case; the message comes again when its time is over."""

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
    """What `pgmq://` stands for once `install` was called."""

    Channel: Any = Channel


def install() -> None:
    """For this process; kombu looks the name up when it connects."""
    TRANSPORT_ALIASES["pgmq"] = f"{__name__}:Transport"
