"""What the local backend has alone; the rest is in test_backend_contract.py."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from crucible.jobs.backends.base import JobSpec, JobState
from crucible.jobs.backends.local import LocalBackend
from tests.platform.steps import alive

SLEEPER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from submissions.job import run_stage, StageResult

def stage(job):
    with open(job.output / "started", "a") as file:
        file.write("once\\n")
    Path(job.output / "environment").write_text(repr(dict(os.environ)))
    deaf = lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "300"], preexec_fn=deaf)
    (job.output / "child").write_text(str(child.pid))
    job.progress(1, 2, "naps", "half of it")
    print("a line of log")
    time.sleep(job.parameters["seconds"])
    child.kill()
    return StageResult({}, {"done": True})

if __name__ == "__main__":
    sys.exit(run_stage(stage))
"""


@pytest.fixture
def backend(tmp_path, monkeypatch):
    (tmp_path / "sleeper_stage.py").write_text(SLEEPER)
    monkeypatch.setattr("crucible.jobs.backends.directory.REPOSITORY", _repository(tmp_path))
    backend = LocalBackend(tmp_path / "jobs", slots=2)
    yield backend
    for directory in (tmp_path / "jobs").glob("*"):
        backend.cancel(directory.name)


def _repository(tmp_path: Path) -> Path:
    """A folder from which both the test's stage and the real packages can be imported."""
    (tmp_path / "submissions").symlink_to(Path(__file__).parents[2] / "submissions")
    return tmp_path


def spec(tmp_path, key, seconds=30.0):
    document = {
        "key": key, "stage": "sleep", "inputs": {}, "parameters": {"seconds": seconds},
        "output": (tmp_path / "work" / key).as_uri(),
    }  # fmt: skip
    return JobSpec("sleeper_stage", document)


def wait_for(backend, key, state, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = backend.status(key)
        if status.state == state and (state != JobState.RUNNING or status.progress):
            return status
        time.sleep(0.05)
    raise AssertionError(f"{key} is {backend.status(key)}, not {state}\n{backend.logs(key, 4000)}")


def process_of(tmp_path, key):
    return json.loads((tmp_path / "jobs" / key / "process.json").read_text())["pid"]


def test_a_job_stopped_with_the_installation_starts_again_under_its_key(backend, tmp_path):
    key = "8-sleep-a1"
    backend.submit(key, spec(tmp_path, key))
    wait_for(backend, key, JobState.RUNNING)
    assert backend.live() == [key]
    assert backend.cancel(key)
    backend.forget(key)
    assert backend.live() == []
    assert backend.status(key).state == JobState.UNKNOWN
    backend.submit(key, spec(tmp_path, key, 0.1))
    wait_for(backend, key, JobState.SUCCEEDED)
    assert (tmp_path / "work" / key / "started").read_text() == "once\nonce\n"


def test_a_child_that_does_not_listen_ends_with_its_job(backend, tmp_path):
    key = "9-sleep-a1"
    backend.submit(key, spec(tmp_path, key))
    wait_for(backend, key, JobState.RUNNING)
    child = int((tmp_path / "work" / key / "child").read_text())
    assert alive(child)
    assert backend.cancel(key)
    assert not alive(child)


def test_a_launch_of_which_only_the_log_was_opened_is_not_lost_at_once(backend, tmp_path):
    directory = tmp_path / "jobs" / "5-sleep-a1"
    directory.mkdir(parents=True)
    (directory / "launch").write_text(f"{time.time()}\n")
    assert backend.status("5-sleep-a1").state == JobState.RUNNING
    (directory / "launch").write_text(f"{time.time() - 120}\n")
    assert backend.status("5-sleep-a1").state == JobState.LOST


def test_a_half_written_progress_line_is_not_read(backend, tmp_path):
    directory = tmp_path / "jobs" / "7-sleep-a1"
    directory.mkdir(parents=True)
    (directory / "launch").write_text(f"{time.time()}\n")
    (directory / "progress.jsonl").write_text('{"step": 1, "time": 5.0}\n{"step": 2, "ti')
    status = backend.status("7-sleep-a1")
    assert status.progress == {"step": 1, "time": 5.0}
