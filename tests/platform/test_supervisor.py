"""The supervisor's care for a child: started again when it died, and when it stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crucible import supervisor
from crucible.paths import home_close

# A process with one more, as gunicorn's and Celery's have them.
POOL = "import os, time; os.fork(); time.sleep(60)"


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))
    monkeypatch.setattr(supervisor, "STOPPED_LIMIT", 0.3)
    monkeypatch.setattr(supervisor, "QUICK_DEATH", 0.1)
    (tmp_path / "log").mkdir()
    command = [sys.executable, "-c", POOL]
    service = supervisor.Service("sleeper", command, dict(os.environ))
    service.start()
    yield service
    os.killpg(service.process.pid, signal.SIGKILL)
    service.process.wait()


def watch(service, seconds):
    """As the supervisor does, until the child is another or the time is over."""
    first, end = service.process.pid, time.monotonic() + seconds
    while time.monotonic() < end:
        service.keep_alive()
        if service.process is not None and service.process.pid != first:
            return True
        time.sleep(0.02)
    return False


def test_a_child_that_died_is_started_again(service):
    assert not watch(service, 0.3)
    os.kill(service.process.pid, signal.SIGKILL)
    assert watch(service, 10)


def test_a_child_that_was_stopped_for_long_is_started_again(service):
    os.kill(service.process.pid, signal.SIGSTOP)
    assert watch(service, 10)


def test_a_child_of_which_one_process_was_stopped_for_long_is_started_again(service):
    first = service.process.pid
    children = Path(f"/proc/{first}/task/{first}/children")
    while not (found := children.read_text().split()):
        time.sleep(0.01)
    os.kill(int(found[0]), signal.SIGSTOP)
    assert watch(service, 10)
    end = time.monotonic() + 10
    while supervisor._is_stopped(found[0]) and time.monotonic() < end:
        time.sleep(0.01)
    assert not supervisor._is_stopped(found[0])  # killed with the rest


def test_a_child_that_was_stopped_for_a_moment_is_left_alone(service):
    os.kill(service.process.pid, signal.SIGSTOP)
    assert not watch(service, 0.1)
    os.kill(service.process.pid, signal.SIGCONT)
    assert not watch(service, 0.8)


class DyingPostgres:
    """Dies in the first preparation and lives in the second."""

    def __init__(self):
        self.starts = 0

    def start(self):
        self.starts += 1
        return "postgresql://nobody@127.0.0.1:1/none"

    def alive(self):
        return self.starts > 1


def test_a_database_that_dies_during_the_start_is_started_again(monkeypatch):
    postgres = DyingPostgres()

    def manage(environment, *arguments):
        if not postgres.alive():
            raise subprocess.CalledProcessError(1, arguments)

    monkeypatch.setattr(supervisor, "_manage", manage)
    environment = supervisor._prepare(postgres)
    assert postgres.starts == 2
    assert environment["DATABASE_URL"].startswith("postgresql://")


def test_settings_that_are_wrong_end_the_start_at_once(monkeypatch):
    postgres = DyingPostgres()
    postgres.starts = 1  # it lives

    def refuse(environment, *arguments):
        raise subprocess.CalledProcessError(1, arguments)

    monkeypatch.setattr(supervisor, "_manage", refuse)
    with pytest.raises(subprocess.CalledProcessError):
        supervisor._prepare(postgres)
    assert postgres.starts == 2


@pytest.mark.parametrize(("root", "mode"), [(False, 0o700), (True, 0o711)])
def test_the_home_is_closed_to_others(tmp_path, root, mode):
    """As root `nobody`, as whom PostgreSQL runs, has to walk through it."""
    home = tmp_path / "home"
    before = os.umask(0o077)  # the supervisor's
    home_close(home, root=root)
    os.umask(before)
    assert home.stat().st_mode & 0o777 == mode
    home.chmod(0o755)
    home_close(home, root=root)
    assert home.stat().st_mode & 0o777 == mode
    home.chmod(0o700)  # nothing is opened that was closed: the database would be looked for there
    home_close(home, root=root)
    assert home.stat().st_mode & 0o777 == 0o700


def test_what_the_services_write_is_their_users_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(supervisor, "_port_is_free", lambda: False)  # it goes no further
    before = os.umask(0o022)
    try:
        assert supervisor.up() == 3
        assert os.umask(0o022) == 0o077
    finally:
        os.umask(before)
    assert (tmp_path / "home/supervisor.lock").exists()
