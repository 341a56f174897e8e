"""`manage.py prepare`: prepares the database: tables, an empty cache, the schema for pgmq."""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.core.cache import caches
from django.core.management import call_command
from django.core.management.base import BaseCommand

PGMQ = "pgmq://"


class Command(BaseCommand):
    """Safe to repeat; `make up` runs it at every start."""

    help = "Apply migrations and install the message queue's schema."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
        caches["boards"].clear()  # an older release may have made other texts
        if settings.CELERY_BROKER_URL.startswith(PGMQ):
            url = settings.CELERY_BROKER_URL.replace(PGMQ, "postgresql://", 1)
            install_pgmq(settings.CELERY_BROKER_TRANSPORT_OPTIONS.get("conn_string", url))


def install_pgmq(url: str) -> None:
    """Installs the schema `pgmq` once, as SQL: its extension needs rights that we may lack."""
    from pgmq.install import install_pgmq_from_sql

    with psycopg.connect(url) as connection:
        found = connection.execute("select to_regnamespace('pgmq') is not null").fetchone()
        if found is None or not found[0]:
            install_pgmq_from_sql(conn=connection)
