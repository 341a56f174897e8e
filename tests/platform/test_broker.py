"""The broker in PostgreSQL: what becomes of acknowledgements that do not reach it."""

from __future__ import annotations

import contextlib
import os
import re

import psycopg
import pytest
from kombu import Connection, Queue

from crucible import broker
from crucible.celery import app
from crucible.jobs.management.commands.prepare import install_pgmq

OPTIONS = {"init_extension": False, "visibility_timeout": 60, "polling_interval": 0.05,
           "wait_time_seconds": 1, "pool_size": 2, "pool_timeout": 3}  # fmt: skip


@pytest.fixture
def connection():
    url = os.environ["DATABASE_URL"]
    install_pgmq(url)
    address = re.sub("^postgres(ql)?://", "pgmq://", url)
    with Connection(address, transport_options=OPTIONS) as made:
        yield made


def test_a_lost_acknowledgement_does_not_make_a_worker_deaf(connection, monkeypatch):
    """As when PostgreSQL is killed while tasks run: celery logs it, and goes on."""
    assert isinstance(connection.transport, broker.Transport)
    channel = connection.channel()
    queue = Queue("deaf", channel=channel)
    queue.declare()
    queue.purge()
    got = []
    with connection.Consumer(queue, callbacks=[lambda body, message: got.append(message)]) as one:
        one.qos(prefetch_count=2)
        producer = connection.Producer(channel)
        for number in range(6):
            producer.publish({"number": number}, routing_key="deaf")
        for lost in ("ack", "reject"):
            _drain(connection, got, 2)
            with monkeypatch.context() as crash:
                crash.setattr(one.channel.pgmq, "delete", _crash)
                for message in got:
                    with pytest.raises(psycopg.OperationalError):
                        getattr(message, lost)()
            got.clear()
        _drain(connection, got, 2)
        assert {message.payload["number"] for message in got} == {4, 5}
        for message in got:
            message.ack()
    queue.delete()


def _crash(*_):
    raise psycopg.errors.AdminShutdown("terminating connection due to unexpected postmaster exit")


def _drain(connection, got, count):
    for _ in range(50):
        if len(got) >= count:
            return
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=1)
    raise AssertionError(f"{len(got)} of {count} messages came")


def test_the_site_and_its_worker_use_this_broker():
    with app.connection_for_read("pgmq://nobody@127.0.0.1:1/none") as connection:
        assert connection.get_transport_cls() is broker.Transport
