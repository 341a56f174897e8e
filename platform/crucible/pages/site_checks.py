"""What `crucible doctor site` asks: settings, database, broker, schedulers, disk, the services."""

from __future__ import annotations

import os
import smtplib
import socket
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import ERROR, run_checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from crucible.celery import app
from crucible.jobs.backends.base import BackendAway
from crucible.jobs.backends.cage import cage_found
from crucible.jobs.backends.ray_jobs import RayJobs
from crucible.jobs.backends.rules import rules_load
from crucible.jobs.backends.scheduler import Scheduler
from crucible.jobs.backends.slurm import SlurmBackend
from crucible.pages.health import health_checks
from submissions.diagnosis import (
    Check,
    asked,
    check_disk,
    check_python,
    check_server,
    clock_check,
)
from submissions.failures import Failure

LEAST_TO_START = 1e8  # bytes free: for the database and the logs
OLDEST_POSTGRES = 14  # the oldest that its makers still mend in November 2026
PATIENCE = 5.0  # seconds for broker and mail server
PROBE = "crucible-doctor"  # a job that was never submitted
ASK_OPERATOR = "See docs/backends.md, and ask whoever runs the scheduler."


def checks_before_start() -> list[Check]:
    """What must hold before the database is migrated and a service started."""
    home = Path(settings.HOME)
    checks = [check_python(), *_settings(), check_disk(home, LEAST_TO_START), _private(home)]
    database = asked("database", _database, next_step="See DATABASE_URL in docs/settings.md.")
    checks.append(database)
    if database.ok:
        checks.append(_clock())
    checks.append(asked("cage", _cage, matters=False, next_step="See docs/backends.md: the cage."))
    return checks


def all_checks() -> list[Check]:
    """The same, and what can be known of a site that was started once."""
    checks = checks_before_start()
    if any(check.name == "database" and not check.ok for check in checks):
        return checks
    checks.append(asked("migrations", _migrations, next_step="Run `manage.py prepare`."))
    checks.append(asked("broker", _broker, next_step="See CELERY_BROKER_URL in docs/settings.md."))
    checks += _schedulers()
    if settings.EMAIL_HOST:
        checks.append(asked("mail", _mail, matters=False, next_step="See CRUCIBLE_SMTP_URL."))
    port = os.environ.get("CRUCIBLE_PORT", "8000")
    if not _listens(port):
        return [*checks, Check(name="ports", ok=True, message=f"port {port} is free: not running")]
    checks += [check for check in check_server(f"http://127.0.0.1:{port}") if check.name != "clock"]
    return checks + [_measured(check) for check in health_checks()]


def _settings() -> Iterator[Check]:
    """Django's own checks, ours among them."""
    found = [message for message in run_checks() if message.level >= ERROR]
    for message in found:
        yield Check(name="settings", ok=False, message=message.msg, next_step=message.hint or "")
    if not found:
        yield Check(name="settings", ok=True, message="all settings fit together")


def _private(home: Path) -> Check:
    mode = stat.S_IMODE(home.stat().st_mode)
    ok = not mode & 0o066
    return Check(
        name="home", ok=ok, message=f"{home} has mode {mode:o}",
        next_step="" if ok else f"Run `chmod go-rw {home}`: it holds secrets and datasets.",
    )  # fmt: skip


def _database() -> str:
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise Failure("internal_error", f"PostgreSQL does not answer: {said[-1]}") from None
    number = connection.pg_version  # type: ignore[attr-defined]
    if number // 10_000 < OLDEST_POSTGRES:
        raise Failure(
            "internal_error",
            f"PostgreSQL {number // 10_000} is too old: {OLDEST_POSTGRES} or newer is needed",
        )
    return f"PostgreSQL {number // 10_000} answers"


def _clock() -> Check:
    """Against the database, by whose time leases are judged."""
    with connection.cursor() as cursor:
        cursor.execute("select extract(epoch from clock_timestamp())")
        (told,) = cursor.fetchone()
    return clock_check(time.time() - float(told), "the database")


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        first = missing[0][0]
        raise Failure("internal_error", f"{len(missing)} are not applied, first {first}")
    return "all applied"


def _broker() -> str:
    try:
        with app.connection_for_write(connect_timeout=PATIENCE) as broker:
            broker.ensure_connection(max_retries=1, timeout=PATIENCE)
            broker.default_channel  # noqa: B018  (opens it: some transports connect only here)
    except Exception as error:  # each broker's client has its own
        raise Failure(
            "internal_error", f"the broker does not answer ({type(error).__name__})"
        ) from None
    return f"{settings.CELERY_BROKER_URL.partition(':')[0]} answers"


def _schedulers() -> list[Check]:
    """Every scheduler to which the file of CRUCIBLE_BACKENDS sends jobs."""
    rules = rules_load(settings.CRUCIBLE_BACKENDS)
    return [
        asked("scheduler", partial(_asked_scheduler, name, table.address), next_step=ASK_OPERATOR)
        for name, table in rules.tables.items()
        if table.jobs
    ]


def _asked_scheduler(name: str, address: str) -> str:
    try:
        if name == SlurmBackend.name:
            Scheduler().entries("", "")
        else:
            RayJobs(address, settings.CRUCIBLE_RAY_TOKEN).entry(PROBE)
    except (BackendAway, OSError) as away:
        raise Failure("launch_refused", f"{name}: {away}") from None
    return f"{name} answers"


def _cage() -> str:
    found = cage_found(settings.CRUCIBLE_CAGE)
    if not found.program:
        raise Failure("launch_refused", found.words)
    return found.words


def _mail() -> str:
    server: Any = smtplib.SMTP_SSL if settings.EMAIL_USE_SSL else smtplib.SMTP
    try:
        with server(settings.EMAIL_HOST, settings.EMAIL_PORT, timeout=PATIENCE) as client:
            client.noop()
    except (OSError, smtplib.SMTPException) as error:
        said = f"{settings.EMAIL_HOST} does not answer ({type(error).__name__})"
        raise Failure("server_unreachable", said) from None
    return f"{settings.EMAIL_HOST} answers"


def _listens(port: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(PATIENCE)
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def _measured(check: Any) -> Check:
    """One of the health page's."""
    seconds = "none" if check.seconds is None else f"{check.seconds:.0f} s"
    return Check(
        name=check.name,
        ok=check.ok,
        message=f"{check.question}: {seconds}, at most {check.limit:.0f} s",
        next_step="" if check.ok else "See docs/monitoring.md, and the logs in CRUCIBLE_HOME/log.",
        matters=False,
    )
