"""A cage for jobs on the site's machine: bubblewrap, where the kernel lets it work.

In it a job sees its folder and what it makes to write, its inputs and the installation to read, and
nothing else: no network, no other process, no secret key, no database address. A job runs our code
alone; the cage is for the day on which a reader of files has a hole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from crucible.jobs.backends.base import JobSpec
from crucible.paths import REPOSITORY
from submissions.failures import Failure
from submissions.job import path_of_uri
from submissions.manifest import MANIFEST
from submissions.states import Stage
from submissions.warden import SCRATCH

PROGRAM = "bwrap"
AUTO, REQUIRED, OFF = "auto", "required", "off"
PACKAGES = ("submissions", "training_recipes", "evaluation")  # of the clone: no .git, no var/
# Of /etc: how libraries are found, and names of users and of this machine. No secret, no key.
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "passwd", "group", "hosts",
       "host.conf", "nsswitch.conf", "localtime")  # fmt: skip
SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # often links into /usr
DEVICES = ("nvidia*", "dri", "kfd", "infiniband")
TMP = Path("/tmp")  # noqa: S108  (the job's own, not the machine's)
SHARED_MEMORY = 1 << 30  # bytes of /dev/shm
TRIAL = 20.0  # seconds for the one trial
HOME_CACHES = (".cache/huggingface/hub",)  # tokenizers; the token lies beside it and stays outside


@dataclass(frozen=True)
class Found:
    """Whether jobs can be caged here, and why, in words for the health page."""

    program: str  # the path of bwrap; empty: no cage
    words: str


@dataclass(frozen=True)
class Cage:
    """Makes the command line in front of a job's own.

    `datasets` is the only place besides the submission's own work from which inputs are shown;
    `hidden` is shown empty wherever it lies, whatever else a job may see around it.
    """

    program: str
    datasets: Path
    hidden: Path
    readable: tuple[Path, ...] = ()  # the evaluation data, a suite of one's own

    def environment(self) -> dict[str, str]:
        """What differs inside: caches of libraries are the job's own."""
        hub = Path.home() / HOME_CACHES[0]
        return {"TMPDIR": str(TMP), "XDG_CACHE_HOME": str(TMP / ".cache"), "HF_HUB_CACHE": str(hub)}

    def before(self, spec: JobSpec) -> list[str]:
        """What has to be got ready outside, because the job could not keep it."""
        if spec.document["stage"] != Stage.SCAN:
            return []
        return [sys.executable, "-m", "evaluation.contamination.warm"]

    def prefix(self, job: Path, spec: JobSpec) -> list[str]:
        """The arguments of bwrap for the job of that folder; makes the folder of its output."""
        output = path_of_uri(spec.document["output"])
        output.mkdir(parents=True, exist_ok=True)
        shown: dict[Path, list[str]] = {self.hidden: ["--tmpfs"]}
        for path in [*installation(), *self.readable, *self._inputs(spec, output.parent)]:
            shown[path] = ["--ro-bind-try", str(path)]
        for path in (job, output):
            shown[path] = ["--bind", str(path)]
        shown[TMP] = ["--bind", str(job / SCRATCH)]
        arguments = _base(self.program)
        # The deepest last: what is shown lies in what is hidden, and the reverse.
        for path in sorted(shown, key=lambda path: len(path.parts)):
            arguments += [*shown[path], str(path)]
        return [*arguments, "--chdir", str(REPOSITORY), "--"]

    def _inputs(self, spec: JobSpec, work: Path) -> list[Path]:
        """Only those of the submission itself: an earlier stage has written where they lie."""
        roots = (work.resolve(), self.datasets.resolve())
        found = []
        for value in spec.document["inputs"].values():
            try:
                path = path_of_uri(value["uri"])
            except Failure:  # the job itself will say so
                continue
            real = path.resolve()
            if any(real != root and real.is_relative_to(root) for root in roots):
                # Beside a manifest may stand the mixture of its shards.
                found.append(path.parent if path.name == MANIFEST else path)
        return found


def cage_found(mode: str) -> Found:
    """What there is on this machine, tried once in the life of a process."""
    if mode == OFF:
        return Found("", "jobs are not in a cage: CRUCIBLE_CAGE is off")
    return _tried(shutil.which(PROGRAM) or "")


def installation() -> list[Path]:
    """Our packages, Python and its libraries; nothing else of the clone."""
    prefixes = [Path(sys.prefix), Path(sys.base_prefix)]
    paths = [REPOSITORY / name for name in PACKAGES] + prefixes
    paths += [Path.home() / name for name in HOME_CACHES]
    named = [os.environ.get("CRUCIBLE_TOKENIZERS", "")]
    named += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    paths += [Path(name).absolute() for name in named if name]  # as they are asked for, links too
    for entry in filter(None, sys.path):
        path = Path(entry).resolve()
        if not path.is_relative_to(REPOSITORY) and not REPOSITORY.is_relative_to(path):
            paths.append(Path(entry).absolute())
    return [path for path in dict.fromkeys(paths) if path.exists() and path != Path("/")]


@cache
def _tried(program: str) -> Found:
    """Runs our Python in a cage: kernels and containers forbid it in many ways."""
    if not program:
        return Found("", "jobs are not in a cage: bubblewrap (bwrap) is not installed")
    shown = [word for path in installation() for word in ("--ro-bind-try", str(path), str(path))]
    command = [*_base(program), *shown, "--", sys.executable, "-c", "import json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Found("", f"jobs are not in a cage: bubblewrap does not work here ({error})")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        return Found("", f"jobs are not in a cage: bubblewrap does not work here ({lines[-1]})")
    return Found(program, "jobs run in a cage (bubblewrap): no network, no secrets, no processes")


def _base(program: str) -> list[str]:
    """An empty machine with the system's programs, and devices for computing."""
    arguments = [
        program, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "job",
        "--ro-bind", "/usr", "/usr", "--ro-bind-try", "/opt", "/opt", "--proc", "/proc",
        "--dev", "/dev", "--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm",  # noqa: S108
        "--ro-bind-try", "/sys", "/sys",
    ]  # fmt: skip
    for name in SYSTEM:
        path = Path("/") / name
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        else:
            arguments += ["--ro-bind-try", str(path), str(path)]
    for name in ETC:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for pattern in DEVICES:
        for device in sorted(Path("/dev").glob(pattern)):
            arguments += ["--dev-bind-try", str(device), str(device)]
    return arguments
