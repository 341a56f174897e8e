"""Places tasks on a Ray cluster that runs already, for what one machine cannot hold.

docs/ray.md says what the machines of the cluster must share.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from submissions.executor import MAX_DEATHS, TICK, Result, Task
from submissions.failures import Failure

KNOCK = 10.0  # seconds to wait for the cluster's head
AT_ONCE = 256  # results that are waited for together, at most for the length of a tick


class RayCluster:
    """A cluster by its address: `host:port` of its head, or `auto` on one of its machines."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        tick: Callable[[], None],
    ) -> Iterator[tuple[Task, Result]]:
        """See `executor.Placement`; a task takes one processor.

        Raises `cluster_unreachable`, `missing_dependency` without the library, and `out_of_memory`
        for a task whose workers or machines die again and again.
        """
        ray = self._connected()
        remote = ray.remote(num_cpus=1, max_retries=MAX_DEATHS - 1)(_call)
        pending = {remote.remote(function, task): task for task in tasks}
        try:
            while pending:
                wanted = min(len(pending), AT_ONCE)
                done, _ = ray.wait(list(pending), num_returns=wanted, timeout=TICK)
                for future in done:
                    yield pending.pop(future), _result(ray, future)
                tick()
        finally:
            for future in pending:
                ray.cancel(future, force=True)

    def _connected(self) -> Any:
        """The library, with a connection to the cluster; never one that it starts by itself."""
        try:
            import ray
        except ModuleNotFoundError:
            failure = Failure("missing_dependency", "the Python package ray is not installed")
            failure.next_step = "Install it here and on the cluster, as docs/ray.md describes."
            raise failure from None
        if not ray.is_initialized():
            try:
                self._knock()
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.WARNING)
            except (OSError, RuntimeError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                said = f"there is no Ray cluster at {self.address}: {reason}"
                raise Failure("cluster_unreachable", said) from None
        return ray

    def _knock(self) -> None:
        """Raises at once if no port answers: Ray itself tries for more than eight minutes."""
        host, _, port = self.address.rpartition("://")[2].rpartition(":")
        if host:
            socket.create_connection((host, int(port)), timeout=KNOCK).close()


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    """What runs on the cluster: Ray takes plain functions only, a placement anything callable."""
    return function(task)


def _result(ray: Any, future: Any) -> Any:
    """A task's result, or the exception that it raised, as it would come from this process."""
    try:
        return ray.get(future)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        said = (
            f"{MAX_DEATHS} workers died at the same work ({type(error).__name__}); the usual "
            "causes are too little memory and lost machines"
        )
        raise Failure("out_of_memory", said) from None
