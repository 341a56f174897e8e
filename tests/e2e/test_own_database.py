"""`DATABASE_URL` in place of the embedded server: tables and messages both go there."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from crucible.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def database():
    with tempfile.TemporaryDirectory(prefix="crucible-database-") as folder:
        Path(folder).chmod(0o711)
        server = EmbeddedPostgres(Path(folder))
        yield server.start()
        server.stop()


def test_a_database_of_ones_own_with_connection_options(installation, database, tmp_path):
    site = installation(DATABASE_URL=f"{database}?connect_timeout=5&application_name=crucible")
    assert not (site.home / "postgres").exists()
    site.manage("create_user", "ann")
    token = site.manage("create_token", "ann")
    (tmp_path / "small.jsonl").write_text('{"text": "too little"}\n')
    crucible = str(ROOT / ".venv/bin/crucible")
    document = json.loads(
        site.run(crucible, "submit", str(tmp_path), "--track", "mixing", "--scale", "smoke",
                 "--name", "small", "--json", CRUCIBLE_TOKEN=token)
    )  # fmt: skip
    done = subprocess.run(
        [crucible, "status", str(document["id"]), "--wait", "--json"], cwd=ROOT,
        env=site.environment | {"CRUCIBLE_TOKEN": token}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "dataset_too_small"
    with psycopg.connect(database) as connection:
        states = connection.execute("select state from entries_submission").fetchall()
        queues = connection.execute("select queue_name from pgmq.meta").fetchall()
    assert states == [("failed",)]
    assert ("hints",) in queues
