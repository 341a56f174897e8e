"""The faults: each strikes a running installation and is over after a few seconds at most.

Whatever an init system does on a real machine the fault does too: it starts a broker, a scheduler's
daemon or the supervisor again. Nothing else is helped.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial

from tests.faults.site import Site
from tests.platform.ray_cluster import RayCluster
from tests.platform.slurm_cluster import NODES, SlurmCluster

SERVICES = ("front", "site", "worker", "reconciler", "postgres")
CLOCK_STEPS = (3600, -3600, 86400, -300, 45, 0)  # seconds beside the true time; 0 is back to it


def _kill(pid: int, number: int = signal.SIGKILL) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class Faults:
    """Every fault by its name; a method returns whether it found something to strike."""

    def __init__(self, site: Site, draw: random.Random) -> None:
        self.site, self.draw = site, draw

    def kinds(self) -> dict[str, tuple[float, Callable[[], bool]]]:
        """Name to weight and deed, of those that can be done here."""
        kinds: dict[str, tuple[float, Callable[[], bool]]] = {
            f"kill -9 {role}": (2.0, partial(self.kill, role)) for role in SERVICES
        }
        kinds |= {
            "kill -9 job": (4.0, lambda: self.kill("job")),
            "kill -9 supervisor": (0.7, self.kill_supervisor),
            "SIGSTOP": (3.0, self.pause),
            "all messages dropped": (2.0, self.drop_messages),
            "clock step": (2.0, self.step_clock),
        }
        if self.site.small_disk:
            kinds["disk full"] = (1.5, self.fill_disk)
        if self.site.broker.url:
            kinds["kill -9 broker"] = (2.0, self.kill_broker)
        if isinstance(self.site.cluster, SlurmCluster):
            kinds["kill -9 slurmctld"] = (3.0, self.kill_controller)
            kinds["kill -9 slurmd"] = (1.0, self.kill_node)
        if isinstance(self.site.cluster, RayCluster):
            kinds["kill -9 Ray's head"] = (2.0, self.kill_head)
            kinds["kill -9 Ray's job"] = (2.0, self.kill_ray_job)
        return kinds

    def kill(self, role: str) -> bool:
        """The whole service two times in three, one of its processes otherwise."""
        pids = self.site.pids(role)
        if not pids:
            return False
        whole = role != "job" and self.draw.random() < 0.67
        return _kill(pids[0] if whole else self.draw.choice(pids))

    def kill_supervisor(self) -> bool:
        """Then, after a moment, what starts it at boot starts it again."""
        assert self.site.supervisor is not None
        self.site.supervisor.kill()
        self.site.supervisor.wait()
        time.sleep(self.draw.uniform(0.2, 2.0))
        self.site.start()
        return True

    def pause(self) -> bool:
        """A process stands still, as on a swapping machine or a hung disk, and goes on."""
        pids = self.site.pids(self.draw.choice([*SERVICES, "job", "job"]))
        if not pids:
            return False
        pid = self.draw.choice(pids)
        if not _kill(pid, signal.SIGSTOP):
            return False
        time.sleep(self.draw.uniform(0.5, 6.0))
        _kill(pid, signal.SIGCONT)
        return True

    def drop_messages(self) -> bool:
        """For some seconds, every message that is waiting, again and again."""
        end = time.monotonic() + self.draw.uniform(1.0, 4.0)
        dropped = 0
        while time.monotonic() < end:
            with contextlib.suppress(Exception):  # the broker may be away: another fault's doing
                dropped += self.site.broker.drop_messages(self.site.environment)
            time.sleep(0.05)
        return dropped > 0

    def fill_disk(self) -> bool:
        """The last byte of the file system of everything that changes, for some seconds."""
        filler = self.site.home / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                while file.write(b"\0" * 65536):
                    pass
        except OSError:
            time.sleep(self.draw.uniform(1.0, 4.0))
            return True
        finally:
            filler.unlink(missing_ok=True)
        return False

    def step_clock(self) -> bool:
        """The clock of site, worker, reconciler and supervisor jumps; PostgreSQL and jobs keep the
        true time."""
        step = self.draw.choice(CLOCK_STEPS)
        following = self.site.clock.with_suffix(".next")
        following.write_text(f"{step}")
        following.rename(self.site.clock)
        return True

    def kill_broker(self) -> bool:
        """Up again after a moment, with whatever it kept."""
        self.site.broker.kill()
        time.sleep(self.draw.uniform(0.2, 2.0))
        self.site.broker.restart()
        return True

    def kill_controller(self) -> bool:
        """Slurm's controller, often right after a launch; up again after a moment."""
        cluster = self.site.cluster
        assert isinstance(cluster, SlurmCluster)
        cluster.kill_controller()
        time.sleep(self.draw.uniform(0.2, 3.0))
        cluster.start_controller()
        return True

    def kill_node(self) -> bool:
        """A node's daemon; its jobs go on without it."""
        cluster = self.site.cluster
        assert isinstance(cluster, SlurmCluster)
        cluster.kill_node(self.draw.choice(NODES))
        return True

    def kill_head(self) -> bool:
        """All of Ray, its memory of the jobs with it; up again after a moment, knowing none."""
        cluster = self.site.cluster
        assert isinstance(cluster, RayCluster)
        cluster.kill()
        time.sleep(self.draw.uniform(0.2, 3.0))
        cluster.start()
        return True

    def kill_ray_job(self) -> bool:
        """The process that stands for a job in Ray, not the job's own."""
        cluster = self.site.cluster
        assert isinstance(cluster, RayCluster)
        pids = cluster.supervisors()
        return bool(pids) and _kill(self.draw.choice(pids))
