"""A whole installation of its own, started as `make up` starts it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crucible.jobs.backends.cage import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
PYTHON = str(ROOT / ".venv/bin/python")


class Site:
    """A running installation and the doors to it."""

    def __init__(self, home: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.home = home
        self.url = f"http://127.0.0.1:{self.port}"
        hidden = ("DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE")
        self.environment = {k: v for k, v in os.environ.items() if k not in hidden} | {
            "CRUCIBLE_HOME": str(home), "CRUCIBLE_PORT": str(self.port),
            "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}", "CRUCIBLE_SERVER": self.url,
        } | settings  # fmt: skip

    def run(self, *command: str, **environment: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment | environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def manage(self, *arguments: str) -> str:
        return self.run(PYTHON, "manage.py", *arguments).strip()

    def start(self) -> subprocess.Popen[bytes]:
        with (self.home / "up.log").open("ab") as log:
            return subprocess.Popen(
                [PYTHON, "-m", "crucible.supervisor", "up"], cwd=ROOT, env=self.environment,
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def children(self, word: str) -> list[int]:
        """Pids of this installation's processes whose command line holds `word`.

        Those of a cage around a job are left out: they name the job's command too.
        """
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    environment = (entry / "environ").read_bytes()
                except OSError:
                    continue
                ours = f"CRUCIBLE_HOME={self.home}".encode() in environment
                caged = Path(command.split(" ", 1)[0]).name == PROGRAM
                if word in command and not caged and (ours or str(self.home) in command):
                    found.append(int(entry.name))
        return found

    @staticmethod
    def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """Polls until `condition` gives something true, which it returns."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.5)
        raise AssertionError(f"waited {seconds} s for {what}")


@pytest.fixture(scope="module")
def installation() -> Iterator[Callable[..., Site]]:
    """Makes installations that answer, and ends them with everything they started."""
    started: list[tuple[Site, subprocess.Popen[bytes]]] = []

    def start(**settings: str) -> Site:
        home = Path(tempfile.mkdtemp(prefix="crucible-e2e-"))
        home.chmod(0o711)  # as root the database runs as `nobody`, who must be able to walk in
        site = Site(home, **settings)
        started.append((site, site.start()))
        site.wait_until(site.healthy, 90, f"the site: {(home / 'up.log').read_text()}")
        return site

    yield start
    for site, supervisor in started:
        site.run(PYTHON, "-m", "crucible.supervisor", "down")
        supervisor.wait(timeout=60)
        shutil.rmtree(site.home, ignore_errors=True)
