"""Hours of use in minutes, and what the services' memory does meanwhile: scale.py --soak.

Each service is measured against its own work, since that is what a leak grows with. An hour of use
is 6,000 requests to the site (100 a minute), 7,200 looks of the reconciler (one in 0.5 s), and
36,000 hints to the worker (10 a second, the most that running jobs make). Services run faster than
that, and what they got through says how many hours it was.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

AN_HOUR = {"site": 6_000, "worker": 36_000, "reconciler": 7_200}
WORK = {"site": "requests", "worker": "hints", "reconciler": "looks"}
CLIENTS = 2
SAMPLE = 5.0  # seconds between two looks at the memory


def hints_so_far() -> int:
    """All hints that the worker took out of the queue."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select total_messages - queue_length from pgmq.metrics('hints')")
        return int(cursor.fetchone()[0])


def oldest_hint() -> float:
    """Seconds that a hint has waited in the queue and not been taken up."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "select extract(epoch from clock_timestamp() - min(enqueued_at)) from pgmq.q_hints"
            " where read_ct = 0"
        )
        return float(cursor.fetchone()[0] or 0.0)


def looks_so_far(home: Path) -> int:
    """As benchmarks/scale_reconciler.py counts them."""
    with contextlib.suppress(OSError, ValueError):
        return int((home / "looks").read_text())
    return 0


class Clients:
    """Ask for one address after the other without a pause; what is asked changes the boards too."""

    def __init__(self, asks: list[Callable[[], Any]], publish: Callable[[], Any]) -> None:
        self.asks, self.publish, self.requests, self.failed = asks, publish, 0, 0
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=[n]) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, number: int) -> None:
        while not self.stop.is_set():
            for ask in self.asks:
                try:
                    ask()
                except (OSError, urllib.error.URLError):
                    self.failed += 1
                with self.lock:
                    self.requests += 1
            if number == 0:
                self.publish()


def soak(
    seconds: float,
    home: Path,
    asks: list[Callable[[], Any]],
    publish: Callable[[], Any],
    memory: Callable[[], dict[str, float]],
) -> list[tuple[dict[str, float], dict[str, int]]]:
    """MiB and work done of each service, every few seconds."""
    clients = Clients(asks, publish)
    samples, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(SAMPLE)
        done = {
            "site": clients.requests,
            "worker": hints_so_far(),
            "reconciler": looks_so_far(home),
        }
        samples.append((memory(), done))
    clients.stop.set()
    for thread in clients.threads:
        thread.join()
    if clients.failed:
        print(f"{clients.failed} requests failed")
    return samples


def report(samples: list[tuple[dict[str, float], dict[str, int]]]) -> None:
    """Of each service the hours that its work amounts to, and MiB: thirds, and growth an hour.

    The growth is given of all samples and of their second half: a cache that fills is in the first.
    """
    third = len(samples) // 3
    print("| service | work | hours of use | MiB, first third | last third | MiB an hour |"
          " in the second half |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name, work in WORK.items():
        hours = [done[name] / AN_HOUR[name] for _, done in samples]
        mib = [memory[name] for memory, _ in samples]
        late = len(samples) // 2
        slopes = [
            statistics.linear_regression(hours[start:], mib[start:]).slope for start in (0, late)
        ]
        done = samples[-1][1][name] - samples[0][1][name]
        print(f"| {name} | {done:,} {work} | {hours[-1] - hours[0]:.2f} |"
              f" {statistics.mean(mib[:third]):.1f} | {statistics.mean(mib[-third:]):.1f} |"
              f" {slopes[0]:+.1f} | {slopes[1]:+.1f} |")  # fmt: skip
