"""The script of a job on a cluster: exits if there is nothing to do, else becomes the stage.

A scheduler may run it again at any time: after a node failure, a preemption, or a loss of its
controller's last minutes. So the script first tests how the job ended; the job's lock covers the
other cases.
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
from submissions.references import ACCESS

SCRIPT = "job.sh"
STARTS = "starts"  # one line for each start of the script on a node


@dataclass(frozen=True)
class Launcher:
    """The parts that differ between schedulers, as bash.

    `torchrun` is a template over {python}, {processes}, {module}, {folder}.
    """

    run: str  # the scheduler's name for this run: an id, and the number of restarts
    torchrun: str
    log: Path | None = None  # only if the scheduler itself does not redirect the output


def script_of(
    folder: Path, module: str, rule: Rule, launcher: Launcher, access: Path | None = None
) -> str:
    """The text of the script that runs `python -m MODULE FOLDER` under this rule.

    `access`: the file that says what the job may read by reference.
    """
    quoted = shlex.quote(str(folder))
    environment = job_environment()
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # the scheduler has given the job its devices
    if access is not None:  # its path; what is in the file stays there
        environment[ACCESS] = str(access)
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
