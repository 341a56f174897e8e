"""The batch script of a job: leaves when there is nothing to do, then becomes the stage.

Slurm may run it again at any time: after a node failed, after preemption, after the controller lost
its last minutes. Hence the look at the endings first; the job's lock covers the rest.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from crucible.jobs.backends.directory import job_environment
from crucible.jobs.backends.rules import Rule
from crucible.paths import REPOSITORY
from submissions.job import CLOSED, FAILURE, RESULT

STARTS = "starts"  # a line for each time that a node began the script

# The first node's address, which a name that Slurm alone knows would not give; and a port of the
# job's own, so that two jobs on one node do not meet.
TORCHRUN = """\
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head=$(scontrol --oneliner show node "$first" | grep -o 'NodeAddr=[^ ]*' | cut -d= -f2)
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \\
  --kill-on-bad-exit=1 \\
  {python} -m torch.distributed.run --nnodes="$SLURM_JOB_NUM_NODES" \\
  --nproc-per-node={processes} --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d \\
  --rdzv-endpoint="${{head:-$first}}:$MASTER_PORT" -m {module} {folder}
"""


def script_of(folder: Path, module: str, rule: Rule) -> str:
    """The text of the script for `python -m MODULE FOLDER` under that rule."""
    quoted = shlex.quote(str(folder))
    environment = job_environment() | rule.environment
    lines = [
        "#!/bin/bash",
        "set -u",
        f"for ending in {RESULT} {FAILURE} {CLOSED}; do",
        f'  if [ -e {quoted}/"$ending" ]; then exit 0; fi',
        "done",
        f'echo "$(date +%s) $SLURM_JOB_ID ${{SLURM_RESTART_COUNT:-0}} $(hostname)"'
        f" >> {quoted}/{STARTS}",
        f"cd {shlex.quote(str(REPOSITORY))} || exit 3",
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
    ]
    python = shlex.quote(sys.executable)
    if rule.processes_per_node:
        run = TORCHRUN.format(
            python=python, processes=rule.processes_per_node, module=module, folder=quoted
        )
    else:
        run = f"exec {python} -m {module} {quoted}\n"
    return "\n".join(lines) + "\n" + run
