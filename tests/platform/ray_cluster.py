"""A real Ray cluster of one's own, with its Jobs API: one machine, all in a temporary folder.

`ray start --head`, on free ports of this machine; any user can run it, and it knows nothing of
other clusters here. Everything that it starts shares one session, the jobs excepted, which Ray ends
with the process that stands for them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from tests.platform.slurm_cluster import free_ports

CPUS = 32  # declared, not counted: the tests' jobs sleep most of the time
ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM")  # on which it ends all that it started
START = 120  # seconds; five where nothing else runs


class RayCluster:
    """Up between `start` and `stop`; jobs go to `address`."""

    def __init__(self, token: str = "", patience: int = 900) -> None:
        self.token = token
        self.patience = patience  # seconds that a job may wait for room; 900 is Ray's own figure
        # Not in pytest's folder: the path of a socket below it may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        ports = free_ports(4)
        self.head, self.dashboard, self.agent, self.client = map(str, ports)
        self.address = f"http://127.0.0.1:{self.dashboard}"
        self.rules = f'[ray]\nslots = 12\naddress = "{self.address}"\n[[ray.jobs]]\n'
        self.environment = {"CRUCIBLE_RAY_TOKEN": token}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when a job can be handed in; after `kill`, at the same address, knowing none."""
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
            "--node-ip-address=127.0.0.1", f"--port={self.head}", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.dashboard}", f"--dashboard-agent-listen-port={self.agent}",
            f"--ray-client-server-port={self.client}", "--min-worker-port=0",
            "--max-worker-port=0", f"--num-cpus={CPUS}", f"--object-store-memory={80 * 2**20}",
            f"--temp-dir={self.folder}", "--disable-usage-stats",
        ]  # fmt: skip
        environment = {
            "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.folder),
            "RAY_AUTH_MODE": "token" if self.token else "disabled", "RAY_AUTH_TOKEN": self.token,
            "RAY_JOB_START_TIMEOUT_SECONDS": str(self.patience),
        }  # fmt: skip
        with (self.folder / "start.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*ENDS_WITH_US, *command], env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, cwd=self.folder,
            )  # fmt: skip
        end = time.monotonic() + START
        while time.monotonic() < end:
            if self.answers():
                return
            time.sleep(0.2)
        log_of_start = (self.folder / "start.log").read_text()[-3000:]
        raise RuntimeError(f"Ray does not come up:\n{log_of_start}")

    def answers(self) -> bool:
        """Whether it lists its jobs."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with contextlib.suppress(requests.RequestException), requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{self.address}/api/jobs/", headers=headers, timeout=2)
            return answer.status_code == 200
        return False

    def kill(self) -> None:
        """As a crash of the machine that is head and node at once: nothing is saved."""
        if self.process is None:
            return
        for number in (1, 2):  # the second time for what was born meanwhile
            for pid in _session(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1 * (2 - number))
        self.process.wait()
        self.process = None

    def supervisors(self) -> list[int]:
        """The processes by which Ray stands for a job each."""
        session = _session(self.process.pid) if self.process else []
        return [pid for pid in session if b"JobSupervisor" in _command(pid)]

    def stop(self) -> None:
        """For good. The jobs are ended by Ray's watchers, within a second."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _session(leader: int) -> list[int]:
    """The processes of that session."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == leader:
                    found.append(int(folder.name))
    return found


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
