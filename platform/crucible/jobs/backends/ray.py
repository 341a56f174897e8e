"""Runs jobs on a Ray cluster through its Jobs API. The cluster loses its list when its head dies.

A job's Ray submission id contains its key, so Ray's refusal of a second job shows that the first
exists. The job's folder still has what Ray lost (`directory.py`). Site and cluster share the file
system that holds CRUCIBLE_HOME, under the same path.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from crucible.jobs.backends.base import BackendAway, JobSpec, JobState, JobStatus
from crucible.jobs.backends.directory import LOG, JobDirectory, open_to_write
from crucible.jobs.backends.ray_jobs import MESSAGE_LIMIT, RayJob, RayJobs, Refused
from crucible.jobs.backends.rules import Rule, rules_load
from crucible.jobs.backends.script import SCRIPT, STARTS, Launcher, script_of
from submissions.failures import Failure
from submissions.job import JOB, write_json_atomically

# torchrun's processes have their own sessions: without this they would survive when it is killed.
TORCHRUN = """\
exec {python} -m torch.distributed.run --standalone --nproc-per-node={processes} \\
  --no-python setpriv --pdeathsig KILL {python} -m {module} {folder}
"""
# From the environment in which Ray was started, only the devices, which Ray chose for this job.
COMMAND = """\
exec env -i ${{CUDA_VISIBLE_DEVICES+"CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES"}} \
/bin/bash {script}"""
ONE_PROCESSOR: dict[str, float] = {
    "num_cpus": 1
}  # without any, Ray would run all jobs on its head at once
REFUSALS = {
    "RUNTIME_ENV_SETUP_FAILURE", "JOB_SUPERVISOR_ACTOR_START_FAILURE",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE", "JOB_ENTRYPOINT_COMMAND_START_ERROR",
    "JOB_ENTRYPOINT_COMMAND_ERROR",
}  # fmt: skip


class RayBackend:
    """One directory for each key below `root`, and a Ray job whose id ends with that key."""

    name = "ray"

    def __init__(self, root: Path, rules: str, token: str = "") -> None:
        self.root = root
        self.rules = rules
        self.token = token
        # Other installations may use the cluster; none of them has this folder.
        self.prefix = f"crucible-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"

    @property
    def slots(self) -> int:
        return rules_load(self.rules).of(self.name).slots

    def submit(self, key: str, spec: JobSpec) -> None:
        """Adopts the job that Ray knows by this id, else submits the script."""
        job = self._job(key)
        with job.launch_lock() as launched:
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
        except BackendAway as away:  # no verdict without Ray: the job may run
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
            if entry.status != "PENDING":  # the caller asks again until Ray has stopped it
                return False
        return job.close()  # a job that is still pending will find the marker and exit

    # -- how it is done ---------------------------------------------------------------------------

    def _job(self, key: str) -> JobDirectory:
        return JobDirectory(self.root / key)

    def _id(self, key: str) -> str:
        return f"{self.prefix}-{key}"

    def _jobs(self) -> RayJobs:
        return RayJobs(rules_load(self.rules).of(self.name).address, self.token)

    def _launch(self, job: JobDirectory, spec: JobSpec) -> None:
        """Submits the script. Raises `BackendAway` if it is unknown whether Ray accepted it.

        The caller then tries again at once: if both arrive, Ray accepts one.
        """
        key, stage = job.path.name, spec.document["stage"]
        own_id = self._id(key)
        rule = rules_load(self.rules).of(self.name).rule_for(stage, spec.scale) or Rule()
        script = job.path / SCRIPT
        launcher = Launcher(f"{own_id} 0", TORCHRUN, job.path / LOG)
        with open_to_write(script, "w") as file:
            file.write(script_of(job.path, spec.module, rule, launcher, spec.access))
        command = COMMAND.format(script=shlex.quote(str(script)))
        try:
            with job.launching() as note:
                self._jobs().submit(own_id, command, rule.resources or ONE_PROCESSOR, str(job.path))
                note.append(own_id)
        except (BackendAway, Refused) as error:
            # Either error may occur although the job exists: by this call, or by an earlier one
            # whose answer was lost.
            if self._jobs().entry(own_id) is not None:
                job.note_launch(own_id)
                return
            if isinstance(error, BackendAway):
                raise
            job.close()
            raise Failure("launch_refused", f"Ray refused {key}: {error}") from error


def _never_began(job: JobDirectory, entry: RayJob | None) -> bool:
    """Whether a job never ran that Ray lost, or gave up because no node had room."""
    return not (job.path / STARTS).exists() and (entry is None or entry.start_timed_out)


def _refused(job: JobDirectory, entry: RayJob | None) -> JobStatus | None:
    """The verdict on a job that Ray could not start, with Ray's message."""
    if entry is None or entry.error not in REFUSALS or (job.path / STARTS).exists():
        return None
    words = next(iter(entry.message.splitlines()), "")[:MESSAGE_LIMIT]
    failure = Failure("launch_refused", f"Ray could not start {job.path.name}: {words}")
    return JobStatus(JobState.FAILED, document=failure.as_dict())
