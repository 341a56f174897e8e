"""A scheduler that lies: sbatch, squeue and scancel as programs, with every fault of the real ones.

It accepts a job and then says it failed, or hangs before or after accepting; forgets what it
accepted; gives every job one of two ids; starts a job twice, at once or after it ended; and its
other commands fail or hang now and then. What it starts are real processes. All draws come from one
seed, the state is one JSON file under a lock, and `accepted` counts what it really took.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DECK = 20  # calls of a command, among which each fault has exactly its share
HANG = 30  # seconds; the caller gives up long before
SHARES = {  # of the calls of a command: what goes wrong, and how often
    "sbatch": {"hang before": 0.15, "hang after": 0.15, "error after": 0.2, "forget": 0.15,
               "twice": 0.15},
    "squeue": {"hang": 0.05, "error": 0.1},
    "scancel": {"hang": 0.1, "error": 0.2},
}  # fmt: skip
PROGRAM = """\
#!/bin/bash
exec {python} -S -E {module} {folder} "$(basename "$0")" "$@"
"""


def install(folder: Path, seed: int) -> Path:
    """Puts the three programs into `folder`/bin, which is to stand first on PATH."""
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    for name in SHARES:
        path = binaries / name
        path.write_text(PROGRAM.format(python=sys.executable, module=__file__, folder=folder))
        path.chmod(0o755)
    (folder / "state.json").write_text(
        json.dumps({"calls": dict.fromkeys(SHARES, 0), "seed": seed, "jobs": [], "log": []})
    )
    return binaries


def state_of(folder: Path) -> dict[str, Any]:
    """Everything that the liar knows: its jobs, and a log of what it did wrong."""
    return json.loads((folder / "state.json").read_text())


class _State:
    """The file, held while it is changed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.json"

    def __enter__(self) -> dict[str, Any]:
        self.guard = (self.path.parent / "guard").open("a")
        fcntl.flock(self.guard, fcntl.LOCK_EX)
        self.content = json.loads(self.path.read_text())
        return self.content

    def __exit__(self, *_: object) -> None:
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.content))
        partial.rename(self.path)
        self.guard.close()


def _draw(state: dict[str, Any], command: str) -> str:
    """The next fault of a command, or none: from decks that are shuffled by the seed.

    Which job meets which fault depends on who comes first; how many there are does not.
    """
    deck, place = divmod(state["calls"][command], DECK)
    state["calls"][command] += 1
    faults = [fault for fault, share in SHARES[command].items() for _ in range(round(DECK * share))]
    faults += [""] * (DECK - len(faults))
    random.Random(f"{state['seed']} {command} {deck}").shuffle(faults)
    if faults[place]:
        state["log"].append([command, faults[place]])
    return faults[place]


def _start(job: dict[str, Any]) -> None:
    environment = dict(os.environ) | {"SLURM_JOB_ID": str(job["id"]), "SLURM_JOB_NUM_NODES": "1"}
    with Path(job["output"]).open("ab") as log:
        process = subprocess.Popen(
            ["/bin/bash", job["script"]], env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
    job["pid"] = process.pid


def _alive(job: dict[str, Any]) -> bool:
    try:
        return Path(f"/proc/{job['pid']}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _sbatch(folder: Path, arguments: list[str]) -> int:
    options = dict(word[2:].split("=", 1) for word in arguments[:-1] if "=" in word)
    with _State(folder) as state:
        fault = _draw(state, "sbatch")
        if fault != "hang before":
            number = 1 + len(state["jobs"]) % 2  # every id is somebody else's too
            job = {
                "id": number,
                "name": options["job-name"],
                "comment": options["comment"],
                "output": options["output"],
                "script": arguments[-1],
                "pid": 0,
                "forgotten": fault == "forget",
                "cancelled": False,
                "again": fault == "twice",
            }
            state["jobs"].append(job)
            if fault != "forget":
                _start(job)
            if fault == "twice":
                state["jobs"].append(dict(job))
                _start(state["jobs"][-1])
    if fault.startswith("hang"):
        time.sleep(HANG)
    if fault == "error after":
        print("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
              file=sys.stderr)  # fmt: skip
        return 1
    print(number)
    return 0


def _squeue(folder: Path) -> int:
    with _State(folder) as state:
        fault = _draw(state, "squeue")
        lines = []
        for job in state["jobs"]:
            if job["forgotten"]:
                continue
            alive = _alive(job)
            if not alive and job["again"] and not job["cancelled"]:
                job["again"] = False  # restored from an old state: it runs once more
                _start(job)
                alive = True
            shown = "RUNNING" if alive else "CANCELLED" if job["cancelled"] else "COMPLETED"
            lines.append(f"{job['id']}|{shown}|None|{job['name']}|{job['comment']}")
    if fault == "hang":
        time.sleep(HANG)
    if fault == "error":
        print("slurm_load_jobs error: Socket timed out on send/recv operation", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _scancel(folder: Path, arguments: list[str]) -> int:
    name = next(word.split("=", 1)[1] for word in arguments if word.startswith("--name="))
    with _State(folder) as state:
        fault = _draw(state, "scancel")
        if fault == "":
            for job in state["jobs"]:
                if job["name"] == name and str(job["id"]) in arguments and _alive(job):
                    job["cancelled"] = True
                    os.killpg(job["pid"], signal.SIGKILL)
    if fault == "hang":
        time.sleep(HANG)
    return int(fault == "error")


def main() -> int:
    """`slurm_liar.py FOLDER COMMAND ARGUMENT…`, as the three programs call it."""
    folder, command, *arguments = sys.argv[1:]
    if command == "sbatch":
        return _sbatch(Path(folder), arguments)
    if command == "squeue":
        return _squeue(Path(folder))
    return _scancel(Path(folder), arguments)


if __name__ == "__main__":
    sys.exit(main())
