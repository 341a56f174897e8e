"""Ray beyond the contract: a cluster that asks for a token, has no room, or is no Ray at all."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from crucible.jobs.backends.base import BackendAway, JobSpec, JobState
from crucible.jobs.backends.directory import JobDirectory
from crucible.jobs.backends.ray import RayBackend
from crucible.jobs.backends.ray_jobs import RayJob, RayJobs, last_line
from submissions.failures import Failure
from tests.platform.ray_cluster import RayCluster
from tests.platform.slurm_cluster import free_ports

ROOT = Path(__file__).resolve().parents[2]
STAGE = """
import os, sys, time
from submissions.job import StageResult, run_stage

def stage(job):
    rank = os.environ.get("RANK", "")
    job.output.mkdir(exist_ok=True)
    (job.output / f"pid{rank}").write_text(str(os.getpid()))
    time.sleep(job.parameters["seconds"])
    names = sorted(name for name in os.environ if "RAY" in name)
    return StageResult({}, {"rank": rank, "of_rays_environment": names})

def follow():
    from pathlib import Path
    from submissions.job import Job
    stage(Job(Path(sys.argv[1])))

if __name__ == "__main__":
    sys.exit(run_stage(stage) if os.environ.get("RANK", "0") == "0" else follow())
"""


@pytest.fixture(scope="module")
def cluster():
    """It asks for a token, and gives a job that has no room up after six seconds."""
    made = RayCluster(token="a-token-of-forty-characters-or-so-000001", patience=6)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "ray_stage.py").write_text(STAGE)
    (tmp_path / "submissions").symlink_to(ROOT / "submissions")
    for module in ("directory", "script"):
        monkeypatch.setattr(f"crucible.jobs.backends.{module}.REPOSITORY", tmp_path)
    return tmp_path


def backend_of(repository, address, rule="", token=""):
    rules = repository / "backends.toml"
    rules.write_text(f'[ray]\naddress = "{address}"\n' + (f"[[ray.jobs]]\n{rule}" if rule else ""))
    return RayBackend(repository / "jobs", str(rules), token)


def spec(repository, key, seconds=0.1):
    return JobSpec("ray_stage", {
        "key": key, "stage": "train", "inputs": {}, "parameters": {"seconds": seconds},
        "output": (repository / "work").as_uri(),
    })  # fmt: skip


def wait(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError("not in time")


def submit(backend, key, what):
    """As the pipeline does: a head that has just come up may take its time over the first job."""

    def accepted():
        try:
            backend.submit(key, what)
        except BackendAway:
            return False
        return True

    wait(accepted)


def seen(backend, key, state, what=None):
    """The status, once it is that; `what` is handed in again when Ray had no room in time."""

    def look():
        status = backend.status(key)
        if status.state == JobState.UNKNOWN and what is not None:
            submit(backend, key, what)
        return status if status.state == state else None

    return wait(look)


def test_a_cluster_with_a_token_takes_it_and_no_other(cluster, repository):
    key = "1-train-a1"
    for token in ("", "another-token-of-forty-characters-00001"):
        stranger = backend_of(repository, cluster.address, token=token)
        with pytest.raises(BackendAway, match="does not accept the token"):
            stranger.submit(key, spec(repository, key))
    backend = backend_of(repository, cluster.address, token=cluster.token)
    submit(backend, key, spec(repository, key))
    status = seen(backend, key, JobState.SUCCEEDED, spec(repository, key))
    assert status.document["figures"]["of_rays_environment"] == []
    for file in (repository / "jobs" / key).iterdir():
        assert cluster.token not in file.read_text()


def test_a_job_for_which_no_node_has_room_waits_and_is_handed_in_again(cluster, repository):
    """Ray gives it up after a while; it counts as no attempt, and keeps its key."""
    key = "2-train-a1"
    backend = backend_of(
        repository, cluster.address, "resources = { num_gpus = 64 }\n", cluster.token
    )
    submit(backend, key, spec(repository, key))
    assert backend.status(key).note == "Ray: pending"
    seen(backend, key, JobState.UNKNOWN)
    backend = backend_of(repository, cluster.address, token=cluster.token)
    submit(backend, key, spec(repository, key))
    seen(backend, key, JobState.SUCCEEDED, spec(repository, key))
    assert len((repository / "jobs" / key / "starts").read_text().splitlines()) == 1


def test_what_waits_for_room_is_cancelled_at_once(cluster, repository):
    key = "3-train-a1"
    backend = backend_of(
        repository, cluster.address, "resources = { num_gpus = 64 }\n", cluster.token
    )
    submit(backend, key, spec(repository, key))
    assert wait(lambda: backend.cancel(key), 5)
    assert backend.status(key).state == JobState.LOST


def test_a_job_that_ray_never_takes_fails_in_rays_words(cluster, repository):
    key = "4-train-a1"
    backend = backend_of(repository, cluster.address, "resources = { CPU = 1 }\n", cluster.token)
    submit(backend, key, spec(repository, key))
    failure = seen(backend, key, JobState.FAILED).document
    assert failure["code"] == "launch_refused"
    assert "Use the 'num_cpus' and 'num_gpus' keyword" in failure["message"]
    assert "Traceback" not in failure["message"]


def test_torchruns_processes_end_with_it(cluster, repository):
    """They are in sessions of their own, where Ray's kill of the job's does not reach."""
    key = "5-train-a1"
    rule = 'stages = ["train"]\nprocesses_per_node = 2\nresources = { num_cpus = 2 }\n'
    backend = backend_of(repository, cluster.address, rule, cluster.token)
    submit(backend, key, spec(repository, key, 300))
    written = [repository / "work" / f"pid{rank}" for rank in (0, 1)]

    def up():
        if backend.status(key).state == JobState.UNKNOWN:
            submit(backend, key, spec(repository, key, 300))
        return all(path.exists() and path.read_text() for path in written)

    wait(up)
    pids = [int(path.read_text()) for path in written]
    agents = {_parent(pid) for pid in pids}
    assert len(agents) == 1
    os.kill(agents.pop(), signal.SIGKILL)
    seen(backend, key, JobState.LOST)
    assert not any(_alive(pid) for pid in pids)


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Answering(HTTPServer):
    """Says the same to every question, and remembers what was asked."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body = status, body
        self.asked: list[str] = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body.encode())

    do_POST = do_GET  # noqa: N815  (http.server's name)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<html>a page</html>", "is not Ray"),
        (200, "[]", "is not Ray"),
        (404, "not found", "answers with 404"),
        (302, "", "answers with 302"),
        (500, "Traceback\nRuntimeError: the GCS is away", "answers with 500"),
        (503, "", "answers with 503"),
    ],
)
def test_what_is_no_answer_of_ray_is_no_verdict(repository, status, body, words):
    with Answering(status, body) as server:
        backend = backend_of(repository, server.address)
        with pytest.raises(BackendAway, match=words):
            backend.submit("6-train-a1", spec(repository, "6-train-a1"))
        status = backend.status("6-train-a1")
        assert status.state == JobState.RUNNING
        assert words in status.note
        with pytest.raises(BackendAway, match=words):
            backend.cancel("6-train-a1")


def test_a_head_that_is_gone_or_silent_costs_seconds_and_is_no_verdict(repository):
    (port,) = free_ports(1)
    backend = backend_of(repository, f"http://127.0.0.1:{port}")
    with pytest.raises(BackendAway, match="does not answer"):
        backend.submit("7-train-a1", spec(repository, "7-train-a1"))
    with pytest.raises(BackendAway, match="no longer gives its address"):
        RayBackend(repository / "jobs", "").cancel("7-train-a1")
    silent = HTTPServer(("127.0.0.1", 0), _Handler)  # it accepts, and never reads
    try:
        jobs = RayJobs(f"http://127.0.0.1:{silent.server_port}", timeout=(0.2, 0.2))
        with pytest.raises(BackendAway, match="does not answer"):
            jobs.entry("7-train-a1")
    finally:
        silent.server_close()


def test_a_request_that_ray_finds_wrong_is_refused_for_good(repository, monkeypatch):
    with Answering(400, "Traceback\nTypeError: entrypoint_num_cpus must be a number\n. ") as server:
        backend = backend_of(repository, server.address)
        monkeypatch.setattr(RayJobs, "entry", lambda self, name: None)
        with pytest.raises(Failure, match="must be a number") as caught:
            backend.submit("8-train-a1", spec(repository, "8-train-a1"))
        assert caught.value.code == "launch_refused"
        assert server.asked == ["POST /api/jobs/"]
    assert backend.status("8-train-a1").state == JobState.LOST  # closed: nothing comes any more


def test_a_job_that_ray_took_after_all_is_adopted_not_refused(repository, monkeypatch):
    """The answer to an earlier try came too late, and Ray says of the next that the id is taken."""
    looks = [None, RayJob("PENDING", "", "")]
    monkeypatch.setattr(RayJobs, "entry", lambda self, name: looks.pop(0))
    with Answering(400, "Traceback\nValueError: Job with submission_id x already exists") as server:
        backend = backend_of(repository, server.address)
        backend.submit("9-train-a1", spec(repository, "9-train-a1"))
        assert server.asked == ["POST /api/jobs/"]
    assert looks == []
    assert JobDirectory(repository / "jobs" / "9-train-a1").launch_note().endswith("9-train-a1")
    assert not JobDirectory(repository / "jobs" / "9-train-a1").closed()


def test_two_installations_on_one_cluster_have_ids_of_their_own(tmp_path):
    one, other = (RayBackend(tmp_path / name / "jobs", "") for name in ("one", "other"))
    assert one.prefix != other.prefix
    assert one.prefix == RayBackend(tmp_path / "one" / "jobs", "").prefix


def test_of_a_traceback_the_last_line_is_told():
    assert last_line("Traceback:\n  x\nValueError: no\n. \n") == "ValueError: no"
    assert last_line("") == ""
    assert len(last_line(json.dumps("x" * 5000))) == 300
