"""The site with 10,000 submissions and 200 jobs at once: how fast it answers, how much it takes.

    .venv/bin/python benchmarks/scale.py [--submissions 10000] [--running 200] [--seconds 300]
    .venv/bin/python benchmarks/scale.py --soak 5 --seconds 660 --job 100

A PostgreSQL of its own, gunicorn, the Celery worker over pgmq and the reconciler, as `make up`
starts them, in a temporary folder. Jobs are real to the platform and cost nothing: this process
plays them, by the files and locks of the job contract. While jobs end and others get their slots,
pages and API are asked one after another. Twice a round a submission is published on a board of the
full suite, and the board is made anew with it. Printed: each address's latency and the CPU time
that a request took in the site, the longest look of the reconciler, how long hints waited for the
worker, the CPU share and the memory of every service at the start and at the end. With --soak:
memory over hours of use (benchmarks/scale_soak.py).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]
from benchmarks import scale_soak  # noqa: E402  (need the path above)
from benchmarks.scale_data import Publisher, populate  # noqa: E402
from benchmarks.scale_jobs import Jobs  # noqa: E402
from benchmarks.scale_scores import SCALE  # noqa: E402

WARM = 5
AT_ONCE = ("board, at once after it changed", "API: board, at once after it changed")


class Services:
    """Site, worker and reconciler as the supervisor starts them; faster ones for a soak."""

    def __init__(self, home: Path, soak: bool) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        from crucible.supervisor import service_commands, service_environment

        environment = service_environment(None)  # the database's address is in ours
        commands = service_commands("127.0.0.1", self.port)
        commands["worker"][commands["worker"].index("-A") + 1] = "benchmarks.scale_worker"
        if soak:
            commands["reconciler"] = [sys.executable, "-m", "benchmarks.scale_reconciler"]
        self.processes = {}
        for name, command in commands.items():
            log = (home / f"{name}.log").open("ab")
            self.processes[name] = psutil.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def usage(self) -> dict[str, tuple[float, float]]:
        """CPU seconds and MiB of resident memory of each service with its children."""
        found = {}
        for name, process in self.processes.items():
            family = [process, *process.children(recursive=True)]
            times = [member.cpu_times() for member in family]
            memory = sum(member.memory_info().rss for member in family) / 2**20
            found[name] = (sum(t.user + t.system for t in times), memory)
        return found

    def stop(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except psutil.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def ask(address: str, token: str | None, cookie: str | None) -> float:
    """Seconds until the whole answer is there."""
    request = urllib.request.Request(address)  # noqa: S310  (our own site)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if cookie:
        request.add_header("Cookie", f"sessionid={cookie}")
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            answer.read()
    except urllib.error.HTTPError as error:
        if error.code != 503:  # the health page when it is red
            raise
    return time.perf_counter() - began


def session_of(username: str) -> str:
    """The cookie of somebody who is logged in."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.get(username=username))
    return client.cookies["sessionid"].value


Pages = dict[str, tuple[str, str | None, str | None]]  # address, token, cookie


def pages_of(services: Services, known: dict[str, str]) -> Pages:
    """What is asked for, by its name in the report."""
    base = f"http://127.0.0.1:{services.port}"
    cookie = session_of("staff")
    board, api_board = (
        f"/leaderboard/filtering/{SCALE}/",
        f"/api/leaderboard?track=filtering&scale={SCALE}",
    )
    pages: Pages = {
        "page of a running submission": (f"/submissions/{known['running']}/", None, cookie),
        "page of a queued one": (f"/submissions/{known['queued']}/", None, cookie),
        "page of a published one": (f"/submissions/{known['published']}/", None, cookie),
        "list of one's own": ("/submissions/", None, session_of("user0")),
        "submit form": ("/submissions/new/", None, session_of("user0")),
        "health page": ("/health/pipeline/", None, None),
        "API: one queued submission": (f"/api/submissions/{known['queued']}", known["staff"], None),
        "API: one's own submissions": ("/api/submissions", known["user"], None),
        "metrics": ("/metrics", known["staff"], None),
        "board": (board, None, None),
        "API: board": (api_board, None, None),
        "form to compare two": ("/compare/", None, None),
        "board, a second after it changed": (board, None, None),
        "API: board, a second after it changed": (api_board, None, None),
        AT_ONCE[0]: (board, None, None),
        AT_ONCE[1]: (api_board, None, None),
    }
    return {name: (base + path, *rest) for name, (path, *rest) in pages.items()}


def measure(arguments: argparse.Namespace, services: Services, pages: Pages) -> Any:
    """Asks until the time is over: latencies by address, looks of the reconciler, hints' waits."""
    from crucible.jobs.models import Beat

    publish = Publisher(ready=True)
    for _ in range(WARM):  # both processes have then loaded their templates
        for path, token, session in pages.values():
            ask(path, token, session)
    taken: dict[str, list[float]] = {name: [] for name in pages}
    cpu: dict[str, list[float]] = {name: [] for name in pages}
    looks, waits, memory = [], [], []
    ends = time.monotonic() + arguments.seconds
    for count in itertools.count():
        if time.monotonic() > ends:
            break
        for name, (path, token, session) in pages.items():
            if name == AT_ONCE[count % 2]:  # the other one would find what this one has made
                continue
            if name in (*AT_ONCE, "board, a second after it changed"):
                publish()
                time.sleep(0.0 if name in AT_ONCE else 1.0)
            before = services.usage()["site"][0]
            taken[name].append(ask(path, token, session))
            cpu[name].append(services.usage()["site"][0] - before)
            time.sleep(0.05)
        looks.append(Beat.objects.get(name="reconciler").seconds)
        waits.append(scale_soak.oldest_hint())
        memory.append({name: mib for name, (_, mib) in services.usage().items()})
    return taken, cpu, looks, waits, memory


def report(jobs: Jobs, wall: float, before: Any, after: Any, measured: Any) -> None:
    taken, cpu, looks, waits, memory = measured
    print(f"{jobs.ended} jobs ended in {wall:.0f} s; load of the machine {os.getloadavg()[0]:.1f}")
    print("| address | requests | median ms | p95 ms | CPU ms a request |\n|---|---|---|---|---|")
    for name, seconds in taken.items():
        p95 = statistics.quantiles(seconds, n=20)[18] if len(seconds) > 1 else seconds[0]
        print(f"| {name} | {len(seconds)} | {1000 * statistics.median(seconds):.0f} |"
              f" {1000 * p95:.0f} | {1000 * statistics.mean(cpu[name]):.0f} |")  # fmt: skip
    print(f"\nreconciler: longest look {max(looks):.2f} s, median of the longest in five seconds"
          f" {statistics.median(looks):.2f} s")  # fmt: skip
    print(f"worker: oldest hint not taken up yet {max(waits):.1f} s, median"
          f" {statistics.median(waits):.1f} s")  # fmt: skip
    print("\n| service | CPU, share of a core | MiB at the start | in the middle | at the end |")
    print("|---|---|---|---|---|")
    for name in before:
        share = (after[name][0] - before[name][0]) / wall
        steps = [memory[i][name] for i in (0, len(memory) // 2, -1)]
        print(f"| {name} | {share:.2f} | " + " | ".join(f"{mib:.0f}" for mib in steps) + " |")


def run_soak(arguments: argparse.Namespace, home: Path, services: Services, pages: Pages) -> None:
    """Everything at once for a while, after each address has been asked for often enough."""
    asks, publish = (
        [functools.partial(ask, *page) for page in pages.values()],
        Publisher(ready=False),
    )
    for _ in range(4 * WARM):
        publish()  # site and worker have then made a board
        for one in asks:
            one()
    samples = scale_soak.soak(
        arguments.seconds, home, asks, publish,
        lambda: {name: mib for name, (_, mib) in services.usage().items()},
    )  # fmt: skip
    scale_soak.report(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=10_000)
    parser.add_argument("--running", type=int, default=200)
    parser.add_argument("--queued", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--job", type=float, default=60, help="mean seconds of a job")
    parser.add_argument("--soak", type=float, metavar="TIMES", help="looks and hints: so much more")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="crucible-scale-"))
    home.chmod(0o711)
    os.environ |= {"CRUCIBLE_HOME": str(home), "CRUCIBLE_LOCAL_SLOTS": str(arguments.running),
                   "CRUCIBLE_SCALES": f"smoke,{SCALE}", "CRUCIBLE_EVAL_DATA": str(home),
                   "DJANGO_SETTINGS_MODULE": "crucible.settings",
                   "SCALE_SPEED": str(arguments.soak or 1),
                   "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"}  # fmt: skip
    from crucible.postgres import EmbeddedPostgres

    postgres = EmbeddedPostgres(home)
    os.environ["DATABASE_URL"] = postgres.start()
    jobs, services = Jobs(home / "jobs", arguments.job), None
    try:
        subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, check=True)
        import django

        django.setup()
        known = populate(arguments, jobs)
        jobs.start()
        services = Services(home, bool(arguments.soak))
        print("warming up", flush=True)
        time.sleep(20)
        pages = pages_of(services, known)
        before, began = services.usage(), time.monotonic()
        if arguments.soak:
            run_soak(arguments, home, services, pages)
            print(f"{jobs.ended} jobs ended; load of the machine {os.getloadavg()[0]:.1f}")
            return
        measured = measure(arguments, services, pages)
        report(jobs, time.monotonic() - began, before, services.usage(), measured)
    finally:
        jobs.stop.set()
        if services:
            services.stop()
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
