"""The brokers under which the faults are tried: the default in PostgreSQL, RabbitMQ, Redis."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.platform.slurm_cluster import DIES_WITH_US, free_ports

QUEUE = "hints"


def _answers(port: int, question: bytes, answer: bytes) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as peer:
        peer.sendall(question)
        return peer.recv(16).startswith(answer)
    return False


class Broker:
    """The default: messages are rows in the site's own PostgreSQL, and die and live with it."""

    name = "pgmq"
    packages: tuple[str, ...] = ()
    program = ""
    url = ""

    def missing(self) -> str:
        """What is not installed, in one line; Debian's package is installed where that works."""
        if not self.program or self._path():
            return ""
        if os.geteuid() == 0 and shutil.which("apt-get"):
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            apt = ("apt-get", "-qq")
            for command in ((*apt, "update"), (*apt, "install", "-y", *self.packages)):
                subprocess.run(command, env=environment, capture_output=True, check=False)
        return "" if self._path() else f"no {self.name} to test with: {self.program} not installed"

    def start(self, folder: Path) -> None:
        """Ready when it returns."""

    def kill(self) -> None:
        """As a crash."""

    def restart(self) -> None:
        """After `kill`."""

    def stop(self) -> None:
        """For good."""

    def drop_messages(self, environment: dict[str, str]) -> int:
        """Throws every waiting message away; how many there were."""
        from kombu import Connection

        url = environment.get("CELERY_BROKER_URL", "")
        if not url:
            url = (Path(environment["CRUCIBLE_HOME"]) / "database.url").read_text().strip()
            return self._purge_rows(url)
        with Connection(url, connect_timeout=2) as connection:
            return int(connection.default_channel.queue_purge(QUEUE) or 0)

    def _purge_rows(self, url: str) -> int:
        import psycopg

        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute("select pgmq.purge_queue(%s)", [QUEUE]).fetchone()
            return int(row[0]) if row else 0

    def _path(self) -> str | None:
        return shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Server(Broker):
    """A broker with a process of its own."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def start(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.restart()

    def prepare(self) -> None:
        """Ports, address, files."""

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def restart(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*DIES_WITH_US, *self.command()], env=self.environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd=self.folder,
            )  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.ready():
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.name} does not start: {(self.folder / 'log').read_text()}")

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        self.kill()


class Redis(Server):
    """Debian's redis-server; each message it has is written to its log at once."""

    name, program, packages = "redis", "redis-server", ("redis-server",)

    def prepare(self) -> None:
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [
            self._path() or "", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--dir", str(self.folder),
        ]  # fmt: skip

    def ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as s,
        ):
            s.sendall(b"PING\r\n")
            return s.recv(16).startswith(b"+PONG")
        return False


class RabbitMq(Server):
    """Debian's rabbitmq-server, everything of it below the folder."""

    name, program, packages = "rabbitmq", "rabbitmq-server", ("rabbitmq-server",)

    def prepare(self) -> None:
        self.port, self.distribution, self.mapper = free_ports(3)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        (self.folder / "home").mkdir()
        (self.folder / "plugins").write_text("[].\n")
        # In the foreground: the server would start one that outlives it.
        mapper = [
            *DIES_WITH_US,
            "epmd",
            "-port",
            str(self.mapper),
            "-address",
            "127.0.0.1",
        ]
        self.names = subprocess.Popen(mapper, stdin=subprocess.DEVNULL, start_new_session=True)

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return dict(os.environ) | {
            "HOME": f"{folder}/home", "RABBITMQ_NODENAME": f"faults{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution), "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/logs", "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/none", "ERL_EPMD_PORT": str(self.mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }  # fmt: skip

    def command(self) -> list[str]:
        script = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the other one insists on a user
        return [str(script) if script.exists() else self._path() or ""]

    def ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as s,
        ):
            s.sendall(b"AMQP\x00\x00\x09\x01")
            return s.recv(8)[:1] == b"\x01"
        return False

    def stop(self) -> None:
        super().stop()
        self.names.kill()
        self.names.wait()


BROKERS: dict[str, type[Broker]] = {kind.name: kind for kind in (Broker, RabbitMq, Redis)}
