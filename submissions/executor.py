"""Places independent tasks: in processes of this machine here, on a cluster in ray_executor.py.

A task is a pure function of its argument that may be run twice (it writes beside its output and
renames), so a worker that dies costs one task only.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from submissions.failures import Failure

Task = TypeVar("Task")
Result = TypeVar("Result")

TICK = 1.0  # seconds between two calls of `tick` while tasks run
MAX_DEATHS = 3  # workers that may die at one task before it is given up


class Placement(Protocol):
    """Runs `function` on every task and gives (task, result) as they complete, in any order.

    `tick` is called about once a second meanwhile. The first exception of a task stops all others
    and is raised; a task whose workers die again and again raises `out_of_memory`.
    """

    def __call__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        tick: Callable[[], None],
    ) -> Iterator[tuple[Task, Result]]: ...


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


class LocalProcesses:
    """`workers` processes of this machine; with one worker, this process itself."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __call__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        tick: Callable[[], None],
    ) -> Iterator[tuple[Task, Result]]:
        """See `Placement`."""
        if self.workers == 1:
            with _ticking(tick):
                for task in tasks:
                    yield task, function(task)
            return
        left, deaths = list(range(len(tasks))), [0] * len(tasks)
        suspects: list[int] = []
        while left:
            batch = suspects[:1] or list(left)
            suspects = suspects[1:]
            with _processes(min(self.workers, len(batch))) as pool:
                futures = {pool.submit(function, tasks[number]): number for number in batch}
                try:
                    for future in _completed(futures, tick):
                        yield tasks[futures[future]], future.result()
                        left.remove(futures[future])
                except BrokenProcessPool:
                    for future, number in futures.items():
                        if number in left and future.done() and not future.exception():
                            yield tasks[number], future.result()
                            left.remove(number)
                    # The pool does not say at which task a worker died. Tasks start in this order;
                    # those that may be guilty run alone from now on, which shows the one.
                    guilty = [number for number in batch if number in left][: self.workers]
                    suspects = guilty + suspects
                    if len(batch) == 1:
                        deaths[batch[0]] += 1
            if max(deaths) == MAX_DEATHS:
                raise Failure(
                    "out_of_memory",
                    f"{MAX_DEATHS} processes died at the same work; on Linux the usual cause "
                    "is too little memory",
                )


@contextlib.contextmanager
def _ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Calls `tick` from a thread while this one works."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(TICK):
            tick()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        tick()


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that ends at once, without waiting for its workers' tasks."""
    context = multiprocessing.get_context("spawn")  # fork would copy locks that threads hold
    pool = ProcessPoolExecutor(workers, context, _end_with_parent, (os.getpid(),))
    try:
        yield pool
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _completed(
    futures: dict[Future[Result], int], tick: Callable[[], None]
) -> Iterator[Future[Result]]:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=TICK, return_when=FIRST_COMPLETED)
        yield from done
        tick()


def _end_with_parent(parent: int) -> None:
    """Ends a worker whose parent was killed; it would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(TICK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
