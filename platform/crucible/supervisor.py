"""`make up` and `make down`: starts all services, keeps them alive, stops them cleanly.

`make backup` and `make restore` come this way too: they need the database, up or down.

It needs no Django settings, because it starts the database that they name. It runs PostgreSQL
(unless DATABASE_URL names another), the site, the Celery worker and the reconciler, and restarts
each that dies. Jobs are not its children: they outlive it, and the next start finds them again.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from crucible.backups.commands import add_commands, run_command
from crucible.front import LARGE_AT_ONCE, PAGES, UPLOADS, front_command, pool_command
from crucible.jobs.backends.local import LocalBackend
from crucible.paths import REPOSITORY, RESTORING, home, home_close
from crucible.postgres import EmbeddedPostgres, die_with_parent

PORT = os.environ.get("CRUCIBLE_PORT", "8000")
ADDRESS = os.environ.get("CRUCIBLE_ADDRESS", "127.0.0.1")
FRONT = "front"  # the service that clients reach
# HAProxy breaks off at SIGTERM; this signal lets it finish as the others do.
STOP_SIGNALS = {FRONT: signal.SIGUSR1}
STOP_SECONDS = 20  # then SIGKILL, which every service survives
QUICK_DEATH = 5.0  # seconds; a service that dies sooner is restarted after a pause of that length
PREPARE_TRIES = 5
STOPPED_LIMIT = 30.0  # seconds after which a stopped (SIGSTOP) process counts as dead


def python(*arguments: str) -> list[str]:
    """A command line of this Python interpreter."""
    return [sys.executable, *arguments]


def service_commands(address: str, port: int) -> dict[str, list[str]]:
    """The command line of each service. Clients reach the front alone (crucible.front)."""
    behind_tls = "https://" in os.environ.get("CRUCIBLE_ORIGINS", "")
    return {
        FRONT: front_command(address, port, behind_tls=behind_tls),
        "site": pool_command(PAGES, workers=2, threads=4),
        # One process: it counts what each user sends (crucible.intake.transfers).
        "uploads": pool_command(UPLOADS, workers=1, threads=LARGE_AT_ONCE),
        "worker": python(
            "-m", "celery", "-A", "crucible", "worker", "--loglevel", "INFO", "--concurrency", "2",
            "--without-gossip", "--without-mingle",
        ),
        "reconciler": python("manage.py", "reconcile"),
    }  # fmt: skip


def say(text: str) -> None:
    """Prints one line for the operator."""
    print(f"crucible: {text}", flush=True)


def _is_stopped(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] == "T"


class Service:
    """One child process that is kept alive."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name, self.command, self.environment = name, command, environment
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.pause_until = 0.0
        self.unstopped_at = 0.0

    def start(self) -> None:
        """Starts it in its own session, so that Ctrl-C reaches only the supervisor."""
        with (home() / "log" / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGTERM),
            )
        self.started_at = self.unstopped_at = time.monotonic()

    def keep_alive(self) -> None:
        """Restarts it when it has died or stands still, at most every few seconds."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.pause_until:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            if not self._has_a_stopped_process():
                self.unstopped_at = now
            elif now - self.unstopped_at > STOPPED_LIMIT:
                self._kill_group()
            return
        quick = now - self.started_at < QUICK_DEATH
        say(f"the {self.name} ended with {code}; starting it again (log/{self.name}.log)")
        self._kill_group()  # the children of a killed parent
        self.process = None
        self.pause_until = now + (QUICK_DEATH if quick else 0)

    def ask_to_stop(self) -> None:
        """The service finishes its current work and ends."""
        if self.process is not None:
            self.process.send_signal(STOP_SIGNALS.get(self.name, signal.SIGTERM))

    def wait_until_stopped(self) -> None:
        """Waits a limited time, then kills the whole group."""
        if self.process is None:
            return
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"the {self.name} did not stop in {STOP_SECONDS} s; killing it")
        self._kill_group()
        self.process.wait()

    def _has_a_stopped_process(self) -> bool:
        """Whether one of its processes is stopped (SIGSTOP), which never happens normally.

        One process of a pool is enough: it may hold the lock that the others wait for.
        """
        assert self.process is not None
        main = self.process.pid
        try:
            children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        except OSError:
            children = []
        return any(_is_stopped(pid) for pid in [str(main), *children])

    def _kill_group(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def service_environment(database_url: str | None) -> dict[str, str]:
    """The environment of all services."""
    environment = dict(os.environ)
    # glibc's malloc gives each thread an arena, and arenas never shrink. Measured with 8,000
    # requests to a process of the site: 251 to 272 MiB; with one arena 195 to 203, and as fast.
    environment.setdefault("MALLOC_ARENA_MAX", "1")
    environment["PYTHONPATH"] = f"{REPOSITORY / 'platform'}:{REPOSITORY}"
    environment["PYTHONUNBUFFERED"] = "1"
    if database_url:
        environment["DATABASE_URL"] = database_url
    return environment


def _manage(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(python("manage.py", *arguments), cwd=REPOSITORY, env=environment, check=True)


def _prepare(postgres: EmbeddedPostgres | None) -> dict[str, str]:
    """Starts the database, checks the site, migrates; starts again if our database died."""
    for _ in range(PREPARE_TRIES):
        environment = service_environment(postgres.start() if postgres else None)
        try:
            _manage(environment, "doctor", "--starting")
            _manage(environment, "prepare")
        except subprocess.CalledProcessError:
            if postgres is None or postgres.alive():
                raise
            say("PostgreSQL ended; starting it again")
            continue
        return environment
    raise RuntimeError("PostgreSQL keeps ending: see log/postgres.log")


def _lock_home() -> int | None:
    """Takes the lock of this home's one supervisor; None if a supervisor runs already."""
    home_close(home(), root=os.geteuid() == 0)
    (home() / "log").mkdir(exist_ok=True)
    descriptor = os.open(home() / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _wait_until_healthy(services: list[Service], stopped: Callable[[], bool]) -> bool:
    url = f"http://127.0.0.1:{PORT}/health/"
    for _ in range(240):
        if stopped():
            return False
        for service in services:
            service.keep_alive()
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    return False


def _port_is_free() -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, int(PORT)))
        except OSError:
            return False
    return True


def up() -> int:
    """Runs everything until SIGINT or SIGTERM; returns the exit code."""
    os.umask(0o077)  # for all services and jobs: only a dataset's owner may read it
    lock = _lock_home()
    if lock is None:
        say(f"already running for {home()}; `make down` stops it")
        return 1
    if (home() / RESTORING).exists():
        say(f"a restore into {home()} did not end: empty it and restore again (docs/backup.md)")
        return 3
    if not _port_is_free():
        say(f"port {PORT} is taken; set another in CRUCIBLE_PORT")
        return 3
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    postgres = None if os.environ.get("DATABASE_URL") else EmbeddedPostgres(home())
    services: list[Service] = []
    try:
        environment = _prepare(postgres)
        services += [
            Service(name, command, environment)
            for name, command in service_commands(ADDRESS, int(PORT)).items()
        ]
        if _wait_until_healthy(services, stop.is_set):
            say(f"ready at http://{ADDRESS}:{PORT}/ (logs in {home() / 'log'}; Ctrl-C stops)")
        _keep_alive(services, postgres, stop)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        say(f"cannot start: {error}")
        return 3
    finally:
        say("stopping")
        _stop_all(services, postgres)
        os.close(lock)
        say("stopped" + _jobs_still_running())
    return 0


def _keep_alive(
    services: list[Service], postgres: EmbeddedPostgres | None, stop: threading.Event
) -> None:
    while not stop.is_set():  # polled: `wait` could deadlock with a signal handler's `set`
        for service in services:
            service.keep_alive()
        if postgres and not postgres.alive():
            say("PostgreSQL ended; starting it again")
            postgres.start()
        time.sleep(0.5)


def _stop_all(services: list[Service], postgres: EmbeddedPostgres | None) -> None:
    """Stops the services together, then the database."""
    for service in services:
        service.ask_to_stop()
    for service in services:
        service.wait_until_stopped()
    if postgres:
        postgres.stop()


def _jobs_still_running() -> str:
    keys = _local_jobs().live()
    if not keys:
        return ""
    return f"; jobs still running: {', '.join(keys)} (`make down` stops them too)"


def _local_jobs() -> LocalBackend:
    return LocalBackend(home() / "jobs", slots=0)


def down() -> int:
    """Stops the supervisor of this home and every local job; keeps their work."""
    lock = _lock_home()
    if lock is None:
        pid = int((home() / "supervisor.lock").read_text().strip())
        os.kill(pid, signal.SIGTERM)
        while (lock := _lock_home()) is None:
            time.sleep(0.1)
        say("the site is stopped")
    else:
        say("nothing was running")
    os.close(lock)
    jobs = _local_jobs()
    for key in jobs.live():
        if jobs.cancel(key):
            jobs.forget(key)
            say(f"stopped {key}; the next `make up` resumes it")
        else:
            say(f"could not stop {key}: see {home() / 'jobs' / key}")
    return 0


def main() -> int:
    """`python -m crucible.supervisor up|down|backup|restore|…`."""
    parser = argparse.ArgumentParser(prog="python -m crucible.supervisor")
    commands = parser.add_subparsers(dest="action", required=True)
    commands.add_parser("up", help="run everything until Ctrl-C")
    commands.add_parser("down", help="stop it, jobs included")
    add_commands(commands)
    arguments = parser.parse_args()
    if arguments.action in {"up", "down"}:
        return {"up": up, "down": down}[arguments.action]()
    return run_command(arguments, _lock_home, say)


if __name__ == "__main__":
    sys.exit(main())
