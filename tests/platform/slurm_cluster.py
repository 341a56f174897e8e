"""A real Slurm of one's own: controller, two nodes on this machine, all in a temporary folder.

Debian's packages slurm-wlm and munge, without systemd, cgroups or an accounting database; nothing
of the system's own configuration is read or changed, and any user can run it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
CPUS = 32  # declared, not counted: the tests' jobs sleep most of the time
NODES = ("n1", "n2")
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")  # a test run that is killed leaves nothing behind
CONF = """\
ClusterName=crucible
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={controller}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.log
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=200000,batch_sched_delay=1,sched_interval=2
ReturnToService=2
MpiDefault=none
MinJobAge=86400
KillWait=2
MessageTimeout=5
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _sbin(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing() -> str:
    """What is not installed, in one line; empty when a cluster can be brought up.

    Where we are root and Debian's package manager is there, the packages are installed first.
    """
    absent = [name for name in PROGRAMS if _sbin(name) is None]
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        apt = ("apt-get", "-qq")
        install = (*apt, "install", "-y", "--no-install-recommends", "slurm-wlm", "munge")
        for command in ((*apt, "update"), install):
            subprocess.run(command, env=environment, capture_output=True, check=False)
        absent = [name for name in PROGRAMS if _sbin(name) is None]
    return f"no Slurm to test with: {', '.join(absent)} not installed" if absent else ""


def free_ports(count: int) -> list[int]:
    """As many ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class SlurmCluster:
    """Up between `start` and `stop`; `environment` is what a client needs to reach it."""

    rules = "[slurm]\nslots = 12\n[[slurm.jobs]]\n"  # of a CRUCIBLE_BACKENDS: all jobs run there

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self.conf)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Writes the configuration, starts every daemon, returns when both nodes are idle."""
        for name in ("munge", "state", "log", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        controller, *ports = free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS}"
            " State=UNKNOWN"
            for node, port in zip(NODES, ports, strict=True)
        )
        user = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
        self.conf.write_text(
            CONF.format(host=host, user=user, folder=self.folder, controller=controller,
                        nodes=nodes)
        )  # fmt: skip
        self._spawn("munged", "--foreground", "--force", f"--key-file={key}",
                    f"--socket={self.folder}/munge/socket", f"--pid-file={self.folder}/munged.pid",
                    f"--log-file={self.folder}/log/munged.log",
                    f"--seed-file={self.folder}/munged.seed")  # fmt: skip
        self._wait((self.folder / "munge/socket").exists, "munged")
        self.start_controller("-c")
        for node in NODES:
            self._start_node(node, "-c")
        self._wait(self._idle, "the nodes")

    def start_controller(self, *arguments: str) -> None:
        """Also after `kill_controller`; without `-c` it reads the state it saved last."""
        self._spawn("slurmctld", "-D", *arguments)

    def kill_controller(self) -> None:
        """As a crash: nothing is saved."""
        self.processes["slurmctld"].kill()
        self.processes.pop("slurmctld").wait()

    def kill_node(self, node: str) -> None:
        """The node's daemon dies and comes again; the jobs there are not its children."""
        self.processes[node].kill()
        self.processes.pop(node).wait()
        self._start_node(node)

    def resume_nodes(self) -> None:
        """What a cluster's health check does: a drained node that is well works again.

        Slurm drains a node to which a controller that crashed sends an id that is in use there.
        """
        states = self._client("sinfo", "--noheader", "--Node", "-o%N %t").stdout.splitlines()
        for node, state in (line.split() for line in states):
            if state.startswith("dr"):
                self._client("scontrol", "update", f"nodename={node}", "state=resume")

    def answers(self) -> bool:
        """Whether the controller does."""
        return self._client("squeue", "--noheader").returncode == 0

    def stop(self) -> None:
        """Stops every job and daemon."""
        if "slurmctld" in self.processes and self.answers():
            self._client("scancel", "--me", "--signal=KILL", "--full")
            self._client("scancel", "--me")
            self._wait(lambda: not self._client("squeue", "--noheader").stdout, "jobs", fatal=False)
        for label in ("slurmctld", *NODES, "munged"):
            process = self.processes.pop(label, None)
            if process is not None:
                process.send_signal(signal.SIGTERM if label == "munged" else signal.SIGKILL)
                process.wait()

    # -- how it is done ---------------------------------------------------------------------------

    def _spawn(self, program: str, *arguments: str, label: str = "") -> None:
        path = _sbin(program)
        assert path, program
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin", "LC_ALL": "C.UTF-8",
                       "HOME": os.environ.get("HOME", "/")} | self.environment  # fmt: skip
        with (self.folder / "log" / f"{label or program}.out").open("ab") as log:
            self.processes[label or program] = subprocess.Popen(
                [*DIES_WITH_US, path, *arguments], env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            )  # fmt: skip

    def _start_node(self, node: str, *arguments: str) -> None:
        self._spawn("slurmd", "-D", *arguments, "-N", node, label=node)

    def _client(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, env=os.environ | self.environment, check=False
        )

    def _idle(self) -> bool:
        states = self._client("sinfo", "--noheader", "--Node", "-o%t").stdout.split()
        return states == ["idle"] * len(NODES)

    def _wait(self, done: object, what: str, seconds: float = 30, fatal: bool = True) -> None:
        assert callable(done)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if done():
                return
            time.sleep(0.1)
        if fatal:
            logs = "\n".join(
                f"{path.name}: {path.read_text()[-1500:]}"
                for path in sorted((self.folder / "log").iterdir())
            )
            raise RuntimeError(f"Slurm does not come up ({what}):\n{logs}")
