"""`crucible doctor site`, and what the supervisor asks before it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from kombu import Connection

from crucible.pages.site_checks import all_checks, checks_before_start
from crucible.paths import REPOSITORY
from submissions.diagnosis import Check

CONNECTION = "crucible.pages.site_checks.app.connection_for_write"


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.django_db
def test_a_site_that_is_fit(settings, tmp_path: Path, monkeypatch) -> None:
    tmp_path.chmod(0o700)
    settings.HOME = tmp_path
    monkeypatch.setenv("CRUCIBLE_PORT", "9")
    monkeypatch.setattr(CONNECTION, lambda **_: Connection("memory://"))
    checks = by_name(all_checks())
    assert {name for name, check in checks.items() if not check.ok and check.matters} == set()
    assert checks["ports"].message == "port 9 is free: not running"
    assert {"database", "migrations", "broker", "clock"} <= set(checks)


@pytest.mark.django_db
def test_a_home_that_others_may_read(settings, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    settings.HOME = tmp_path
    check = by_name(checks_before_start())["home"]
    assert not check.ok
    assert "chmod go-rw" in check.next_step


@pytest.mark.django_db
def test_a_migration_that_is_not_applied(settings, tmp_path: Path, monkeypatch) -> None:
    settings.HOME = tmp_path
    monkeypatch.setenv("CRUCIBLE_PORT", "9")
    ((app, newest),) = MigrationLoader(connection).graph.leaf_nodes("entries")
    MigrationRecorder(connection).record_unapplied(app, newest)
    check = by_name(all_checks())["migrations"]
    assert not check.ok
    assert f"{app}.{newest}" in check.message


@pytest.mark.django_db
def test_a_scheduler_and_a_broker_that_are_away(settings, tmp_path: Path, monkeypatch) -> None:
    rules = tmp_path / "backends.toml"
    rules.write_text('[ray]\naddress = "http://127.0.0.1:9"\n[[ray.jobs]]\nstages = ["train"]\n')
    settings.HOME = tmp_path
    settings.CRUCIBLE_BACKENDS = str(rules)
    monkeypatch.setenv("CRUCIBLE_PORT", "9")
    monkeypatch.setattr(
        CONNECTION,
        lambda **_: (_ for _ in ()).throw(ConnectionError("amqp://guest:secret@broker")),
    )
    checks = by_name(all_checks())
    assert checks["scheduler"].message == "ray: its head does not answer"
    assert not checks["broker"].ok
    assert "secret" not in checks["broker"].message


def test_a_database_that_is_away_stops_the_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    environment = os.environ | {
        "CRUCIBLE_HOME": str(tmp_path), "DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/x",
        "PYTHONPATH": f"{REPOSITORY / 'platform'}:{REPOSITORY}",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"], cwd=REPOSITORY, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert not checks["database"]["ok"]
    assert "hunter2" not in done.stdout + done.stderr
