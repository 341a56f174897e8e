"""The installation under test: supervisor, broker, scheduler; its processes, found in /proc."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.brokers import Broker
from tests.platform.ray_cluster import RayCluster
from tests.platform.slurm_cluster import SlurmCluster, free_ports

ROOT = Path(__file__).resolve().parents[2]
DISK = 400  # MiB of the file system that holds the installation


class Process(NamedTuple):
    """As /proc shows it."""

    pid: int
    parent: int
    session: int
    command: str


def processes() -> Iterator[Process]:
    """Every process that is no zombie."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if fields[0] != "Z":
                yield Process(int(folder.name), int(fields[1]), int(fields[3]), command)


class Site:
    """Below `folder`: `home` (on a small disk of its own where we may mount one) and the ledger."""

    def __init__(
        self, folder: Path, broker: Broker, cluster: SlurmCluster | RayCluster | None
    ) -> None:
        self.folder, self.broker, self.cluster = folder, broker, cluster
        self.home = folder / "home"
        self.ledger = folder / "ledger.jsonl"
        self.clock = folder / "clock"
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.small_disk = False
        self.sessions: set[int] = set()

    # -- from nothing to a running site, and back -------------------------------------------------

    def prepare(self) -> None:
        """Disk, clock, ledger, broker, supervisor, a user with a token."""
        self.home.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=0711", "tmpfs", str(self.home)]
        if os.geteuid() == 0 and shutil.which("mount"):
            self.small_disk = subprocess.run(mount, capture_output=True).returncode == 0
        self.ledger.touch()
        self.clock.write_text("0")
        (self.home / "ledger").write_text(str(self.ledger))
        self.broker.start(self.folder / "broker")
        self.environment = self._environment()
        self.start()
        self.wait_until_healthy(60)
        manage = [sys.executable, "manage.py"]
        for command in (["create_user", "ann"], ["create_token", "ann"]):
            done = subprocess.run(
                [*manage, *command], cwd=ROOT, env=self.environment, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
        self.token = done.stdout.strip()

    def start(self) -> None:
        """Starts the supervisor, as the machine's own init would."""
        with (self.folder / "up.log").open("ab") as log:
            self.supervisor = subprocess.Popen(
                [sys.executable, "-m", "crucible.supervisor", "up"], cwd=ROOT, stdout=log,
                env=self.environment, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def wait_until_healthy(self, seconds: float) -> None:
        """Until the site answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health/"):
                return
            time.sleep(0.2)
        raise AssertionError(f"not healthy: {(self.folder / 'up.log').read_text()[-3000:]}")

    def database_url(self) -> str:
        """Where the database is now: after a restart it may have another port."""
        return (self.home / "database.url").read_text().strip()

    def tend(self) -> None:
        """What the machines do, not the site: start again what ended, check a cluster's nodes."""
        if self.supervisor is not None and self.supervisor.poll() is not None:
            self.start()
        if isinstance(self.cluster, SlurmCluster):
            self.cluster.resume_nodes()

    def tear_down(self) -> None:
        """Stops everything that was started here, jobs included."""
        for process in self.all_processes():
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGCONT)
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.supervisor.wait(40)
        for process in self.all_processes():
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGKILL)
        self.broker.stop()
        if self.cluster is not None:
            self.cluster.stop()
        time.sleep(0.3)
        if self.small_disk:  # what the services said is kept for whoever looks into a problem
            shutil.copytree(self.home / "log", self.folder / "log", dirs_exist_ok=True)
            subprocess.run(["umount", "--lazy", str(self.home)], check=False)

    # -- its processes ----------------------------------------------------------------------------

    def all_processes(self) -> list[Process]:
        """Those whose command line names this installation, and its services with their children,

        which share the session that the supervisor gave each service.
        """
        everything = list(processes())
        above = self.supervisor.pid if self.supervisor is not None else -1
        self.sessions |= {
            process.session for process in everything if above in (process.parent, process.session)
        }
        return [
            process for process in everything
            if str(self.home) in process.command or process.session in self.sessions
        ]  # fmt: skip

    def pids(self, role: str) -> list[int]:
        """Of `front`, `site`, `worker`, `reconciler`, `postgres`, `job`: its, its children's."""
        words = {
            "front": ("haproxy",),
            "site": ("gunicorn",),
            "worker": ("celery",),
            "reconciler": ("manage.py reconcile",),
            "job": ("tests.faults.quick_stage", "submissions.warden"),
            "postgres": (f"-D {self.home}",),
        }
        ours = self.all_processes()
        chosen = [
            process for process in ours if any(word in process.command for word in words[role])
        ]
        if role == "postgres":  # its children have titles of their own
            sessions = {process.session for process in chosen}
            chosen = [process for process in ours if process.session in sessions]
        pids = {process.pid for process in chosen}
        return [process.pid for process in sorted(chosen, key=lambda one: one.parent in pids)]

    # -- what a participant does ------------------------------------------------------------------

    def call(self, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
        """One request; `OSError` when the site is away or fails."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
        request = urllib.request.Request(
            f"{self.url}/api{path}", data=data, method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def insist(self, method: str, path: str, body: Any = None, seconds: float = 120) -> Any:
        """The same until it is answered, as a patient client; a refusal (4xx) is an answer."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.call(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    return json.loads(error.read())
            except (OSError, ValueError):
                pass
            if time.monotonic() > end:
                raise AssertionError(f"no answer to {method} {path} for {seconds} s")
            time.sleep(0.3)

    def submit(self, name: str) -> None:
        """Hands a dataset in; an answer that was lost is asked for again."""
        upload = self.insist("POST", "/uploads", {})["id"]
        self.insist("PUT", f"/uploads/{upload}/shards/a.jsonl", b'{"text": "A document."}\n')
        fields = {"name": name, "track": "filtering", "scale": "smoke", "upload": upload}
        self.insist("POST", "/submissions", fields)

    # -- how it is done ---------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        hidden = ("DATABASE_URL", "CELERY_BROKER_URL", "CRUCIBLE_SECRET_KEY")
        environment = {k: v for k, v in os.environ.items() if k not in hidden} | {
            "CRUCIBLE_HOME": str(self.home), "CRUCIBLE_PORT": str(self.port),
            "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}", "CRUCIBLE_LOCAL_SLOTS": "6",
            # The stage of this suite is none of the installation, and keeps a ledger outside.
            "CRUCIBLE_CAGE": "off",
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings", "FAULTS_CLOCK": str(self.clock),
        }  # fmt: skip
        if self.broker.url:
            environment["CELERY_BROKER_URL"] = self.broker.url
        if self.cluster is not None:
            rules = self.folder / "backends.toml"
            rules.write_text(self.cluster.rules)
            environment |= self.cluster.environment | {"CRUCIBLE_BACKENDS": str(rules)}
        return environment
