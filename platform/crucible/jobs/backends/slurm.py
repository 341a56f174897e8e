"""Runs jobs on a Slurm cluster, which sometimes loses an accepted job or runs one twice.

Four rules make this safe. The key is looked up before every launch and found again by name. A
launch of unknown outcome is repeated only after the controller had time to show it. The script
exits if the attempt is over or already runs. A verdict closes the job's folder (`directory.py`).
Site and nodes share the file system that holds CRUCIBLE_HOME, under the same path.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from crucible.jobs.backends.base import BackendAway, JobSpec, JobState, JobStatus
from crucible.jobs.backends.directory import LOG, JobDirectory, open_to_write, tail
from crucible.jobs.backends.rules import Rule, rules_load
from crucible.jobs.backends.scheduler import KEPT, Refused, Scheduler, SlurmJob
from crucible.jobs.backends.script import SCRIPT, STARTS, Launcher, script_of
from submissions.failures import Failure
from submissions.job import JOB, write_json_atomically

TRIED = "tried"
SETTLING = 15.0  # seconds within which a launch of unknown outcome must appear in the queue
# The address of the first node, because only Slurm may know its name; and a port for each job, so
# that two jobs on one node do not collide.
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
LAUNCHER = Launcher("$SLURM_JOB_ID ${SLURM_RESTART_COUNT:-0}", TORCHRUN)
ENDED_BY = {
    "OUT_OF_MEMORY": (
        "out_of_memory",
        "Slurm ended the job: it used more memory than it requested",
    ),
    "TIMEOUT": ("time_limit", "Slurm ended the job at its time limit"),
    "DEADLINE": ("time_limit", "Slurm ended the job at its deadline"),
}


class SlurmBackend:
    """One directory for each key below `root`, and a job of that name in Slurm's queue."""

    name = "slurm"

    def __init__(
        self, root: Path, rules: str, scheduler: Scheduler | None = None, settling: float = SETTLING
    ) -> None:
        self.root = root
        self.rules = rules
        self.scheduler = scheduler or Scheduler()
        self.settling = settling

    @property
    def slots(self) -> int:
        return rules_load(self.rules).of(self.name).slots

    def submit(self, key: str, spec: JobSpec) -> None:
        """Adopts the job that it finds by the key, else submits the script with sbatch."""
        job = self._job(key)
        with job.launch_lock() as launched:
            if job.closed() or job.ending() or job.running():
                return
            found = self._entries(job)
            if found:
                if not launched:
                    job.note_launch(found[0].id)
                return
            self._wait_for_an_unknown_launch(job)
            write_json_atomically(job.path / JOB, spec.document)
            self._launch(job, spec)

    def status(self, key: str) -> JobStatus:
        job = self._job(key)
        known = job.status_from_folder()
        if known is not None:
            return known
        note = ""
        for kept in (KEPT, 0.0):  # a verdict needs an answer that is not cached
            try:
                entries = self._entries(job, kept)
            except BackendAway as away:  # no verdict without the scheduler: the job may run
                return JobStatus(JobState.RUNNING, job.progress(), note=f"Slurm: {away}")
            alive = [entry for entry in entries if not entry.ended]
            if alive:
                note = self._cancel_spare_ones(job, alive)
            if alive or job.running():
                return JobStatus(JobState.RUNNING, job.progress(), note=note)
        if not entries and not (job.path / STARTS).exists() and job.ending() is None:
            return JobStatus(JobState.UNKNOWN)  # accepted and lost: nothing ever ran
        return job.made_final(_ended_by(entries) or JobStatus(JobState.LOST))

    def logs(self, key: str, limit: int) -> str:
        return self._job(key).log(limit)

    def cancel(self, key: str) -> bool:
        job = self._job(key)
        alive = [entry for entry in self._entries(job) if not entry.ended]
        self.scheduler.cancel(key, [entry.id for entry in alive])
        return not alive and job.close()  # the caller asks again until the scheduler has none left

    # -- how it is done ---------------------------------------------------------------------------

    def _job(self, key: str) -> JobDirectory:
        return JobDirectory(self.root / key)

    def _entries(self, job: JobDirectory, kept: float = 0.0) -> list[SlurmJob]:
        return self.scheduler.entries(job.path.name, str(job.path), kept)

    def _launch(self, job: JobDirectory, spec: JobSpec) -> None:
        """Submits the script. Raises `BackendAway` if it is unknown whether Slurm accepted it."""
        key, stage = job.path.name, spec.document["stage"]
        rule = rules_load(self.rules).of(self.name).rule_for(stage, spec.scale) or Rule()
        script = job.path / SCRIPT
        with open_to_write(script, "w") as file:
            file.write(script_of(job.path, spec.module, rule, LAUNCHER, spec.access))
        try:
            with job.launching() as note:
                with open_to_write(job.path / TRIED, "w") as file:
                    file.write(f"{time.time()}")
                note.append(self.scheduler.submit(script, _options(job, rule)))
        except BackendAway:
            found = self._entries(job)
            if not found:
                raise
            job.note_launch(found[0].id)
        except Refused as refused:
            found = self._entries(job)  # Slurm may have accepted it nevertheless
            if not found:
                job.close()
                raise Failure("launch_refused", f"Slurm refused {key}: {refused}") from refused
            job.note_launch(found[0].id)

    def _wait_for_an_unknown_launch(self, job: JobDirectory) -> None:
        """Raises `BackendAway` while the controller may still accept an earlier launch."""
        try:
            elapsed = time.time() - float(tail(job.path / TRIED, 64))
        except (OSError, ValueError):
            return
        if 0 <= elapsed < self.settling and not job.launch_note():
            raise BackendAway("Slurm may still accept the last launch; looking again")

    def _cancel_spare_ones(self, job: JobDirectory, alive: list[SlurmJob]) -> str:
        """Cancels pending duplicates of the job; returns why the remaining one waits.

        Of two running ones, one holds the job's lock and the other exits.
        """
        alive = sorted(
            alive, key=lambda entry: entry.state == "PENDING"
        )  # a stable sort: the oldest first
        spare = [entry.id for entry in alive[1:] if entry.state == "PENDING"]
        self.scheduler.cancel(job.path.name, spare)
        first = alive[0]
        if first.is_held_after_launch_failures:  # a new attempt gets another id, maybe another node
            self.scheduler.cancel(job.path.name, [first.id])
            return "Slurm: no node could start it; it is withdrawn"
        if first.state == "RUNNING":
            return ""
        reason = f" ({first.reason})" if first.reason not in ("", "None") else ""
        return f"Slurm: {first.state.lower()}{reason}"


def _ended_by(entries: Sequence[SlurmJob]) -> JobStatus | None:
    """The verdict by Slurm's state of the job, if that gives one."""
    for entry in entries:
        if entry.state in ENDED_BY:
            return JobStatus(JobState.FAILED, document=Failure(*ENDED_BY[entry.state]).as_dict())
    return None


def _options(job: JobDirectory, rule: Rule) -> list[str]:
    """The rule's options, then ours: of two contradicting options sbatch takes the last."""
    return [
        *rule.options,
        f"--job-name={job.path.name}",
        f"--comment={job.path}",
        f"--output={job.path / LOG}",
        "--open-mode=append",  # a second run must not wipe the log of the first
        "--requeue",
        f"--chdir={job.path}",
    ]
