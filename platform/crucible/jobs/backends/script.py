"""The script of a job on a cluster: leaves when there is nothing to do, then becomes the stage.

A scheduler may run it again at any time: after a node failed, after preemption, after its
controller lost its last minutes. Hence the look at the endings first; the job's lock covers the
rest.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from crucible.jobs.backends.directory import job_environment
from crucible.jobs.backends.rules import Rule
from crucible.paths import REPOSITORY
from submissions.job import CLOSED, FAILURE, RESULT

SCRIPT = "job.sh"
STARTS = "starts"  # a line for each time that a node began the script


@dataclass(frozen=True)
class Launcher:
    """What differs between schedulers; texts of bash.

    `torchrun` is a template over {python}, {processes}, {module}, {folder}.
    """

    run: str  # what the scheduler calls this run: an id, and how often it was started again
    torchrun: str
    log: Path | None = None  # where the scheduler itself does not see to the output


def script_of(folder: Path, module: str, rule: Rule, launcher: Launcher) -> str:
    """The text of the script for `python -m MODULE FOLDER` under that rule."""
    quoted = shlex.quote(str(folder))
    environment = job_environment()
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # the scheduler has given the job its devices
    lines = [
        "#!/bin/bash",
        "set -u",
        f"for ending in {RESULT} {FAILURE} {CLOSED}; do",
        f'  if [ -e {quoted}/"$ending" ]; then exit 0; fi',
        "done",
        f'echo "$(date +%s) {launcher.run} $(hostname)" >> {quoted}/{STARTS}',
        *([f"exec >> {shlex.quote(str(launcher.log))} 2>&1"] if launcher.log else []),
        f"cd {shlex.quote(str(REPOSITORY))} || exit 3",
        *(
            f"export {name}={shlex.quote(value)}"
            for name, value in (environment | rule.environment).items()
        ),
    ]
    python = shlex.quote(sys.executable)
    if rule.processes_per_node:
        run = launcher.torchrun.format(
            python=python, processes=rule.processes_per_node, module=module, folder=quoted
        )
    else:
        run = f"exec {python} -m {module} {quoted}\n"
    return "\n".join(lines) + "\n" + run
