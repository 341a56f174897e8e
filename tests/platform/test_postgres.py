"""The embedded PostgreSQL: starts as whoever we are, loses nothing, is not started twice."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path

import psycopg
import pytest

from crucible import postgres
from crucible.postgres import EmbeddedPostgres


@pytest.fixture
def home():
    folder = Path(tempfile.mkdtemp(prefix="crucible-postgres-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def count(url):
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists kept (i int)")
        connection.execute("insert into kept values (1)")
        return connection.execute("select count(*) from kept").fetchone()[0]


def test_data_survives_a_restart_and_kill_9(home):
    server = EmbeddedPostgres(home)
    assert count(server.start()) == 1
    server.stop()
    assert not server.alive()
    server = EmbeddedPostgres(home)
    assert count(server.start()) == 2
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server = EmbeddedPostgres(home)
    assert count(server.start()) == 3
    server.stop()


def test_a_server_that_outlived_its_supervisor_is_adopted(home):
    first = EmbeddedPostgres(home)
    url = first.start()
    second = EmbeddedPostgres(home)
    assert second.start() == url
    assert second.process is None
    second.stop()
    first.process.wait(timeout=10)
    assert not first.alive()


def test_it_asks_for_the_password_and_listens_here_alone(home):
    server = EmbeddedPostgres(home)
    url = server.start()
    try:
        password = (home / "postgres.password").read_text().strip()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(url.replace(password, "guess"))
        with psycopg.connect(url) as connection:
            addresses = connection.execute("show listen_addresses").fetchone()
            sockets = connection.execute("show unix_socket_directories").fetchone()
        assert (addresses, sockets) == (("127.0.0.1",), ("",))
        for name in ("postgres.password", "database.url"):
            assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
        owner = (server.data / "PG_VERSION").stat().st_uid
        assert owner != 0  # as root it runs as somebody else
    finally:
        server.stop()


def test_data_are_found_again_or_missed_aloud_when_rights_have_changed(home, monkeypatch, tmp_path):
    """As root: a database in the home is never followed by an empty one elsewhere, nor back."""
    monkeypatch.setattr(postgres, "ELSEWHERE", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    reachable = {"all": True}
    monkeypatch.setattr(EmbeddedPostgres, "_reachable", lambda self, path: reachable["all"])
    monkeypatch.setattr(
        shutil, "copytree", lambda _, target, **options: target.mkdir(parents=True, exist_ok=True)
    )
    data = EmbeddedPostgres(home).data
    assert data.is_relative_to(home)
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18")
    reachable["all"] = False
    with pytest.raises(RuntimeError, match="cannot reach"):
        EmbeddedPostgres(home)
    (data / "PG_VERSION").unlink()
    moved = EmbeddedPostgres(home).data
    assert moved.is_relative_to(tmp_path)
    moved.mkdir(parents=True)
    (moved / "PG_VERSION").write_text("18")
    reachable["all"] = True
    assert EmbeddedPostgres(home).data == moved


def test_a_private_home_works_and_is_left_private(home):
    """As root the server runs as `nobody`, who cannot enter: then its files lie elsewhere."""
    home.chmod(0o700)
    server = EmbeddedPostgres(home)
    try:
        assert count(server.start()) == 1
        elsewhere = not server.data.is_relative_to(home)
        assert elsewhere is (os.geteuid() == 0)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700  # nothing of the host was opened up
    finally:
        server.stop()
        if not server.data.is_relative_to(home):
            shutil.rmtree(server.data.parent)
