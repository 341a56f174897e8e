"""One suite for every backend, with real processes: local, caged, a real Slurm, one that lies, Ray.

The suite drives a backend as the pipeline does: what cannot be asked now is asked again, and a job
of which nothing is known is submitted again under its key.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crucible.jobs.backends.base import BackendAway, JobSpec, JobState
from crucible.jobs.backends.cage import Cage, cage_found
from crucible.jobs.backends.local import LocalBackend
from crucible.jobs.backends.ray import RayBackend
from crucible.jobs.backends.scheduler import Scheduler
from crucible.jobs.backends.slurm import SlurmBackend
from tests.platform.ray_cluster import RayCluster
from tests.platform.slurm_cluster import SlurmCluster, missing
from tests.platform.slurm_liar import install, state_of
from tests.platform.steps import alive

ROOT = Path(__file__).resolve().parents[2]
STAGE = """
import os, subprocess, sys, time
from pathlib import Path
from submissions.failures import Failure
from submissions.job import StageResult, run_stage

def stage(job):
    with open(job.output / "started", "a") as file:
        file.write("once\\n")
    (job.output / "environment").write_text(repr(dict(os.environ)))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", job.output])
    job.progress(1, 2, "naps", "half of it")
    print("a line of log")
    time.sleep(job.parameters["seconds"])
    child.kill()
    if job.parameters["seconds"] < 0.3:
        raise Failure("not_json", "this line is not JSON", shard="a.jsonl", line=3)
    with open(job.output / "finished", "a") as file:
        file.write("once\\n")
    return StageResult({}, {"done": True})

if __name__ == "__main__":
    sys.exit(run_stage(stage))
"""
PATIENCE = 60  # seconds, for a scheduler that has to be asked many times


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    absent = missing()
    if absent:
        pytest.skip(absent)
    folder = tmp_path_factory.mktemp("slurm")
    cluster = SlurmCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def ray():
    cluster = RayCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def ray_rules(folder, cluster):
    """A file of CRUCIBLE_BACKENDS that names the cluster."""
    path = folder / "backends.toml"
    path.write_text(f'[ray]\naddress = "{cluster.address}"\n')
    return str(path)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder from which both the test's stage and the real packages can be imported."""
    (tmp_path / "contract_stage.py").write_text(STAGE)
    (tmp_path / "submissions").symlink_to(ROOT / "submissions")
    monkeypatch.setattr(
        "crucible.jobs.backends.cage.PACKAGES", ("submissions", "contract_stage.py")
    )
    for module in ("directory", "local", "script", "cage"):
        monkeypatch.setattr(f"crucible.jobs.backends.{module}.REPOSITORY", tmp_path)
    return tmp_path


@pytest.fixture(params=["local", "caged", "slurm", "liar", "ray"])
def make_backend(request, repository, monkeypatch):
    """Makes the backend, each call a fresh one with an empty memory."""
    root = repository / "jobs"
    if request.param == "slurm":
        cluster = request.getfixturevalue("cluster")
        monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        return lambda: SlurmBackend(root, "")
    if request.param == "liar":
        liar = install(repository / "liar", seed=len(request.node.name))
        monkeypatch.setenv("PATH", f"{liar}:{os.environ['PATH']}")
        return lambda: SlurmBackend(root, "", Scheduler(timeout=1.0), settling=1.5)
    if request.param == "ray":
        rules = ray_rules(repository, request.getfixturevalue("ray"))
        return lambda: RayBackend(root, rules)
    program = cage_found("auto").program if request.param == "caged" else ""
    cage = Cage(program, repository / "datasets", repository / "home") if program else None
    return lambda: LocalBackend(root, slots=2, cage=cage)


@pytest.fixture
def backend(make_backend, repository):
    backend = make_backend()
    yield backend
    for folder in (repository / "jobs").glob("*"):
        ask(lambda folder=folder: backend.cancel(folder.name) or None)


def ask(call, seconds=PATIENCE):
    """The answer, once there is one: `None` and `BackendAway` are none."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            answer = call()
        except BackendAway:
            answer = None
        if answer is not None:
            return answer
        time.sleep(0.05)
    raise AssertionError("no answer in time")


def spec(repository, key, seconds=60.0):
    document = {
        "key": key, "stage": "sleep", "inputs": {}, "parameters": {"seconds": seconds},
        "output": (repository / "work" / key).as_uri(),
    }  # fmt: skip
    return JobSpec("contract_stage", document)


def submit(backend, key, what):
    ask(lambda: backend.submit(key, what) or True)


def wait_for(backend, key, what, state):
    """Follows the job as the pipeline would until it is in that state."""

    def look():
        status = backend.status(key)
        if status.state == JobState.UNKNOWN and state != JobState.UNKNOWN:
            backend.submit(key, what)
        if status.state != state or (state == JobState.RUNNING and not status.progress):
            return None
        return status

    return ask(look)


def cancel(backend, key):
    ask(lambda: backend.cancel(key) or None)


def lines(repository, key, name):
    path = repository / "work" / key / name
    return path.read_text().splitlines() if path.exists() else []


def test_a_key_that_was_never_submitted_is_unknown(backend):
    assert ask(lambda: backend.status("0-sleep-a1")).state == JobState.UNKNOWN
    assert backend.logs("0-sleep-a1", 100) == ""
    cancel(backend, "0-sleep-a1")


def test_a_job_runs_reports_and_ends_once(backend, repository):
    key = "1-sleep-a1"
    what = spec(repository, key, 1.0)
    submit(backend, key, what)
    status = wait_for(backend, key, what, JobState.RUNNING)
    assert status.progress["message"] == "half of it"
    status = wait_for(backend, key, what, JobState.SUCCEEDED)
    assert status.document["figures"] == {"done": True}
    assert "a line of log" in backend.logs(key, 1000)
    assert backend.logs(key, 4) == backend.logs(key, 1000)[-4:]
    submit(backend, key, what)
    assert wait_for(backend, key, what, JobState.SUCCEEDED).document == status.document
    assert lines(repository, key, "started") == lines(repository, key, "finished") == ["once"]


def test_a_failure_is_the_jobs_own_last_word_and_final(backend, repository):
    key = "2-sleep-a1"
    what = spec(repository, key, 0.1)
    submit(backend, key, what)
    status = wait_for(backend, key, what, JobState.FAILED)
    assert (status.document["code"], status.document["line"]) == ("not_json", 3)
    run_by_hand(repository, key)
    assert lines(repository, key, "started") == ["once"]
    assert backend.status(key).state == JobState.FAILED


def test_submitting_many_times_at_once_starts_one(make_backend, backend, repository):
    key = "3-sleep-a1"
    what = spec(repository, key, 1.0)
    threads = [threading.Thread(target=submit, args=(make_backend(), key, what)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(backend, key, what, JobState.SUCCEEDED)
    assert lines(repository, key, "started") == lines(repository, key, "finished") == ["once"]


def test_many_jobs_at_once_are_told_apart(backend, repository):
    jobs = {f"{n}-sleep-a1": spec(repository, f"{n}-sleep-a1", 0.5) for n in range(40, 46)}
    for key, what in jobs.items():
        submit(backend, key, what)
    for key, what in jobs.items():
        assert wait_for(backend, key, what, JobState.SUCCEEDED).document["key"] == key
        assert lines(repository, key, "finished") == ["once"]


def test_a_killed_job_is_lost_for_good(backend, repository):
    key = "5-sleep-a1"
    what = spec(repository, key)
    submit(backend, key, what)
    wait_for(backend, key, what, JobState.RUNNING)
    process = json.loads((repository / "jobs" / key / "process.json").read_text())
    os.kill(process["pid"], signal.SIGKILL)
    # A scheduler that runs everything twice may have a second run take over: the same attempt.
    ask(lambda: backend.status(key).state == JobState.LOST or take_over(repository, key, process))
    run_by_hand(repository, key)
    submit(backend, key, what)
    assert ask(lambda: backend.status(key)).state == JobState.LOST


def take_over(repository, key, dead):
    """Kills the second run too, when there is one."""
    process = json.loads((repository / "jobs" / key / "process.json").read_text())
    if process != dead and alive(process["pid"]):
        os.kill(process["pid"], signal.SIGKILL)


def run_by_hand(repository, key):
    """What a scheduler does that starts a job again after all was over."""
    job = repository / "jobs" / key
    before = lines(repository, key, "started")
    script = job / "job.sh"
    command = ["bash", str(script)] if script.exists() else (
        [sys.executable, "-m", "contract_stage", str(job)]
    )  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(repository), "SLURM_JOB_ID": "1"}
    subprocess.run(command, env=environment, cwd=repository, timeout=30, capture_output=True)
    assert lines(repository, key, "started") == before


def children(repository, key):
    """Of the job, by what they were started with: in a cage they have other pids than outside."""
    marks, found = (b"time.sleep(300)", str(repository / "work" / key).encode()), []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if all(mark in line for mark in marks):
            found.append(line)
    return found


def test_another_worker_finds_the_job_and_cancels_all_its_processes(
    make_backend, backend, repository
):
    key = "6-sleep-a1"
    what = spec(repository, key)
    submit(backend, key, what)
    wait_for(backend, key, what, JobState.RUNNING)
    other = make_backend()
    assert ask(lambda: other.status(key)).state == JobState.RUNNING
    ask(lambda: children(repository, key) or None)
    cancel(other, key)
    assert not children(repository, key)
    cancel(other, key)  # again is harmless
    run_by_hand(repository, key)


def test_what_is_cancelled_at_the_moment_of_its_launch_does_not_run(backend, repository):
    key = "7-sleep-a1"
    what = spec(repository, key, 3.0)
    submit(backend, key, what)
    cancel(backend, key)
    time.sleep(2)  # longer than a process needs to come up
    assert lines(repository, key, "finished") == []
    process = repository / "jobs" / key / "process.json"
    assert not (process.exists() and alive(json.loads(process.read_text())["pid"]))
    run_by_hand(repository, key)


def test_a_job_sees_no_secret_of_ours(backend, repository, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_SECRET_KEY", "canary-key")
    monkeypatch.setenv("DATABASE_URL", "postgresql://canary-database")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-cloud")
    key = "8-sleep-a1"
    what = spec(repository, key, 0.5)
    submit(backend, key, what)
    wait_for(backend, key, what, JobState.SUCCEEDED)
    everything = "".join(lines(repository, key, "environment"))
    for file in filter(Path.is_file, (repository / "jobs" / key).iterdir()):
        everything += file.read_text()
    assert "canary" not in everything


def test_the_liar_lied(repository, monkeypatch):
    """The faults that the suite is meant to survive do happen."""
    monkeypatch.setenv("PATH", f"{install(repository / 'liar', seed=7)}:{os.environ['PATH']}")
    backend = SlurmBackend(repository / "jobs", "", Scheduler(timeout=1.0), settling=1.5)
    jobs = {f"{n}-sleep-a1": spec(repository, f"{n}-sleep-a1", 0.4) for n in range(60, 78)}

    def through(key, what):
        submit(backend, key, what)
        wait_for(backend, key, what, JobState.SUCCEEDED)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(through, jobs, jobs.values()))
    for key in jobs:
        assert lines(repository, key, "finished") == ["once"]
    told = {tuple(entry) for entry in state_of(repository / "liar")["log"]}
    assert {fault for command, fault in told if command == "sbatch"} == {
        "hang before", "hang after", "error after", "forget", "twice",
    }  # fmt: skip


def test_a_controller_that_crashes_after_accepting_loses_and_doubles_nothing(
    cluster, repository, monkeypatch
):
    """It forgets what it took since it last saved its state, or starts from an old one."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    backend = SlurmBackend(repository / "jobs", "", settling=1.5)
    jobs = {f"{n}-sleep-a1": spec(repository, f"{n}-sleep-a1", 2.0) for n in range(80, 84)}
    for number, (key, what) in enumerate(jobs.items()):
        submit(backend, key, what)
        time.sleep(0.4 * (number % 2))
        cluster.kill_controller()
        assert backend.status(key).state != JobState.LOST  # away is no verdict
        cluster.start_controller()
    for key, what in jobs.items():
        wait_for(backend, key, what, JobState.SUCCEEDED)
        assert lines(repository, key, "finished") == ["once"]


def test_a_ray_head_that_crashes_loses_and_doubles_nothing(ray, repository):
    """It forgets every job, and what ran there dies with it."""
    backend = RayBackend(repository / "jobs", ray_rules(repository, ray))
    jobs = {f"{n}-sleep-a1": spec(repository, f"{n}-sleep-a1", 2.0) for n in range(90, 94)}
    for key, what in jobs.items():
        submit(backend, key, what)
    running = next(iter(jobs))
    wait_for(backend, running, jobs[running], JobState.RUNNING)
    ray.kill()
    away = backend.status(running)
    assert away.state != JobState.LOST  # away is no verdict
    ray.start()
    for key, what in jobs.items():
        ended = ask(lambda key=key, what=what: over(backend, key, what))
        if ended == JobState.LOST:  # it was at work: the pipeline's next attempt goes on from there
            run_by_hand(repository, key)
            again = key.replace("a1", "a2")
            submit(backend, again, spec(repository, again, 0.5))
            wait_for(backend, again, spec(repository, again, 0.5), JobState.SUCCEEDED)
        else:
            assert lines(repository, key, "finished") == ["once"]


def over(backend, key, what):
    """The verdict, once there is one; what is unknown is handed in again, as the pipeline does."""
    state = backend.status(key).state
    if state == JobState.UNKNOWN:
        backend.submit(key, what)
    return state if state in (JobState.LOST, JobState.SUCCEEDED) else None
