"""Runs jobs on a Ray cluster, through its Jobs API; the cluster forgets all when its head dies.

A job's submission id is its key, so that Ray's refusal of a second one is the look-up; what Ray
forgot, the job's folder still tells (`directory.py`). Site and cluster share the file system that
holds CRUCIBLE_HOME, under the same path.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from crucible.jobs.backends.base import BackendAway, JobSpec, JobState, JobStatus
from crucible.jobs.backends.directory import LOG, JobDirectory
from crucible.jobs.backends.ray_jobs import TOLD, Entry, RayJobs, Refused
from crucible.jobs.backends.rules import Rule, rules_load
from crucible.jobs.backends.script import SCRIPT, STARTS, Launcher, script_of
from submissions.failures import Failure
from submissions.job import JOB, write_json_atomically

# torchrun's processes are in sessions of their own: what kills it would leave them at work.
TORCHRUN = """\
exec {python} -m torch.distributed.run --standalone --nproc-per-node={processes} \\
  --no-python setpriv --pdeathsig KILL {python} -m {module} {folder}
"""
# Of the environment of whoever started Ray there, the devices alone: Ray chose them for this job.
COMMAND = """\
exec env -i ${{CUDA_VISIBLE_DEVICES+"CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES"}} \
/bin/bash {script}"""
ONE_PROCESSOR: dict[str, float] = {"num_cpus": 1}  # for none Ray would run all on its head at once
REFUSALS = {
    "RUNTIME_ENV_SETUP_FAILURE", "JOB_SUPERVISOR_ACTOR_START_FAILURE",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE", "JOB_ENTRYPOINT_COMMAND_START_ERROR",
    "JOB_ENTRYPOINT_COMMAND_ERROR",
}  # fmt: skip


class RayBackend:
    """One directory a key below `root`, and a Ray job whose id ends in that key."""

    name = "ray"

    def __init__(self, root: Path, rules: str, token: str = "") -> None:
        self.root = root
        self.rules = rules
        self.token = token
        # Other installations may use the cluster; none that the cluster sees has this folder.
        self.prefix = f"crucible-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"

    @property
    def slots(self) -> int:
        return rules_load(self.rules).of(self.name).slots

    def submit(self, key: str, spec: JobSpec) -> None:
        """Adopts what Ray knows by this id, else hands the script over."""
        job = self._job(key)
        with job.turn() as launched:
            if job.closed() or job.ending() or job.running():
                return
            entry = self._jobs().entry(self._id(key))
            if entry is not None:
                if not launched:
                    job.note_launch(self._id(key))
                if not _never_began(job, entry):
                    return
                self._jobs().forget(self._id(key))
            write_json_atomically(job.path / JOB, spec.document)
            self._launch(job, spec)

    def status(self, key: str) -> JobStatus:
        job = self._job(key)
        known = job.status_from_folder()
        if known is not None:
            return known
        try:
            entry = self._jobs().entry(self._id(key))
        except BackendAway as away:  # no verdict without Ray, but it may be at work
            return JobStatus(JobState.RUNNING, job.progress(), note=f"Ray: {away}")
        if entry is not None and not entry.ended:
            note = "" if entry.status == "RUNNING" else f"Ray: {entry.status.lower()}"
            return JobStatus(JobState.RUNNING, job.progress(), note=note)
        if job.running():
            return JobStatus(JobState.RUNNING, job.progress())
        if _never_began(job, entry) and job.ending() is None:
            return JobStatus(JobState.UNKNOWN)
        return job.made_final(_refused(job, entry) or JobStatus(JobState.LOST))

    def logs(self, key: str, limit: int) -> str:
        return self._job(key).log(limit)

    def cancel(self, key: str) -> bool:
        job = self._job(key)
        entry = self._jobs().entry(self._id(key))
        if entry is not None and not entry.ended:
            self._jobs().stop(self._id(key))
            if entry.status != "PENDING":  # asked again until Ray has stopped it
                return False
        return job.close()  # what waits there for room will find this, and leave

    # -- how it is done ---------------------------------------------------------------------------

    def _job(self, key: str) -> JobDirectory:
        return JobDirectory(self.root / key)

    def _id(self, key: str) -> str:
        return f"{self.prefix}-{key}"

    def _jobs(self) -> RayJobs:
        return RayJobs(rules_load(self.rules).of(self.name).address, self.token)

    def _launch(self, job: JobDirectory, spec: JobSpec) -> None:
        """Hands the script over. `BackendAway` when nobody knows whether it was accepted.

        It is then tried again at once: of two that arrive Ray takes one.
        """
        key, stage = job.path.name, spec.document["stage"]
        own_id = self._id(key)
        rule = rules_load(self.rules).of(self.name).rule_for(stage, spec.scale) or Rule()
        script = job.path / SCRIPT
        launcher = Launcher(f"{own_id} 0", TORCHRUN, job.path / LOG)
        script.write_text(script_of(job.path, spec.module, rule, launcher))
        command = COMMAND.format(script=shlex.quote(str(script)))
        try:
            with job.launching() as note:
                self._jobs().submit(own_id, command, rule.resources or ONE_PROCESSOR, str(job.path))
                note.append(own_id)
        except (BackendAway, Refused) as error:
            # Either may be said of a job that is there: by this call, or by one before it whose
            # answer did not come in time.
            if self._jobs().entry(own_id) is not None:
                job.note_launch(own_id)
                return
            if isinstance(error, BackendAway):
                raise
            job.close()
            raise Failure("launch_refused", f"Ray refused {key}: {error}") from error


def _never_began(job: JobDirectory, entry: Entry | None) -> bool:
    """Whether nothing ever ran of a job that Ray forgot, or gave up as no node had room for it."""
    return not (job.path / STARTS).exists() and (entry is None or entry.waited_in_vain)


def _refused(job: JobDirectory, entry: Entry | None) -> JobStatus | None:
    """The verdict on a job that Ray could not start, in Ray's words."""
    if entry is None or entry.error not in REFUSALS or (job.path / STARTS).exists():
        return None
    words = next(iter(entry.message.splitlines()), "")[:TOLD]
    failure = Failure("launch_refused", f"Ray could not start {job.path.name}: {words}")
    return JobStatus(JobState.FAILED, document=failure.as_dict())
