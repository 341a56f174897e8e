"""Jobs within limits and, where bubblewrap works, in a cage: real processes that try to get out."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from crucible.jobs.backends import backend_get, cage_here
from crucible.jobs.backends import cage as cages
from crucible.jobs.backends.base import JobSpec, JobState
from crucible.jobs.backends.cage import Cage, Found, cage_found
from crucible.jobs.backends.local import LocalBackend
from crucible.jobs.backends.local_limits import limits_of
from submissions.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20
FOUND = cage_found("auto")
STAGE = """
import os, socket, subprocess, sys, time
from pathlib import Path
from submissions.job import StageResult, run_stage

def memory(job):
    held = [bytearray(b"x") * (1 << 20) for _ in range(300)]
    time.sleep(60)

def children(job):
    code = "import time; held = bytearray(b'x') * (120 << 20); time.sleep(60)"
    for _ in range(3):
        subprocess.Popen([sys.executable, "-c", code])
    time.sleep(60)

def cpu(job):
    while True:
        sum(range(10000))

def sleep(job):
    time.sleep(60)

def file(job):
    with (job.output / "large").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))

def disk(job):
    for number in range(400):
        (job.output / str(number)).write_bytes(bytes(1 << 20))
        (job.directory / f"beside-{number}").write_bytes(bytes(1 << 20))
    time.sleep(60)

def files(job):
    held = [open("/dev/null") for _ in range(4000)]

def look(job):
    def told(action):
        try:
            return action() or "done"
        except Exception as error:
            return type(error).__name__
    asked = job.parameters
    return StageResult({}, {
        "secret": told(Path(asked["secret"]).read_text),
        "database": told(lambda: Path(asked["home"], "database.url").read_text()),
        "others": told(lambda: [p.name for p in Path(asked["home"], "datasets").iterdir()]),
        "input": told(lambda: Path(asked["input"], "a.jsonl").read_text()),
        "spoil input": told(lambda: Path(asked["input"], "a.jsonl").write_text("x")),
        "spoil code": told(lambda: Path(asked["code"]).write_text("x")),
        "output": told(lambda: (job.output / "made").write_text("x") and "written"),
        "tmp": told(lambda: Path(asked["tmp"]).write_text("x") and "written"),
        "network": told(lambda: socket.create_connection(("127.0.0.1", asked["port"]), 5).close()),
        "processes": len([p for p in Path("/proc").iterdir() if p.name.isdigit()]),
        "shadow": told(lambda: Path("/etc/shadow").read_text() and "read"),
        "handed on": told(lambda: sorted(os.listdir(asked["handed"]))),
    })

def stage(job):
    return globals()[job.parameters["do"]](job) or StageResult({}, {})

if __name__ == "__main__":
    sys.exit(run_stage(stage))
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An installation with secrets, another's dataset, and this test's stage among its packages."""
    home = tmp_path / "home"
    for name in ("datasets/mine", "datasets/another", "work", "jobs"):
        (home / name).mkdir(parents=True)
    (home / "datasets/mine/a.jsonl").write_text("mine")
    (home / "secret.key").write_text("canary")
    (home / "database.url").write_text("canary")
    (tmp_path / "caged_stage.py").write_text(STAGE)
    (tmp_path / "submissions").symlink_to(ROOT / "submissions")
    monkeypatch.setattr(cages, "PACKAGES", ("submissions", "caged_stage.py"))
    for module in ("directory", "local", "cage"):
        monkeypatch.setattr(f"crucible.jobs.backends.{module}.REPOSITORY", tmp_path)
    return home


@pytest.fixture(params=["bare", "caged"])
def cage(request, home):
    """Without a cage and, where there can be one, within: limits hold in both."""
    if request.param == "bare" or not FOUND.program:
        return None
    return Cage(FOUND.program, home / "datasets", home)


@pytest.fixture
def run(home):
    backends = []

    def run(do, limits, cage, stage="validate", key="1-validate-a1", **parameters):
        backend = LocalBackend(home / "jobs", 2, lambda stage, scale: limits, cage)
        backends.append(backend)
        document = {
            "key": key, "stage": stage, "parameters": {"do": do, **parameters},
            "inputs": {"dataset": {"uri": (home / "datasets/mine").as_uri(), "sha256": ""}},
            "output": (home / "work/1" / stage).as_uri(),
        }  # fmt: skip
        backend.submit(key, JobSpec("caged_stage", document, "smoke"))
        end = time.monotonic() + 60
        while time.monotonic() < end:
            status = backend.status(key)
            if status.state not in (JobState.RUNNING, JobState.UNKNOWN):
                return status
            time.sleep(0.05)
        raise AssertionError(backend.logs(key, 4000))

    yield run
    for backend in backends:
        for key in backend.live():
            backend.cancel(key)


def processes_about(folder):
    """Command lines that name the folder, of processes that are no zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("do", "limits", "code"),
    [
        ("memory", Limits(memory_bytes=200 * MIB), "memory_exceeded"),
        ("children", Limits(memory_bytes=200 * MIB), "memory_exceeded"),
        ("cpu", Limits(cpu_seconds=1.0), "cpu_time_exceeded"),
        ("sleep", Limits(wall_seconds=1.0), "time_exceeded"),
        ("file", Limits(file_bytes=4 * MIB), "file_size_exceeded"),
        ("disk", Limits(disk_bytes=40 * MIB), "disk_exceeded"),
        ("files", Limits(open_files=200), "open_files_exceeded"),
    ],
)
def test_a_job_beyond_a_limit_ends_with_that_limits_code(run, home, cage, do, limits, code):
    status = run(do, limits, cage)
    assert (status.state, status.document["code"]) == (JobState.FAILED, code)
    # One that slept did not have too much data.
    ours = code == "time_exceeded"
    assert status.document["fault"] == ("infrastructure" if ours else "participant")
    assert status.document["next_step"]
    until_nothing_is_left(home / "jobs")
    assert not (home / "jobs/1-validate-a1/tmp").exists()


def until_nothing_is_left(folder):
    end = time.monotonic() + 20
    while left := processes_about(folder):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def test_in_training_a_limit_is_our_fault(run):
    status = run("memory", Limits(memory_bytes=200 * MIB), None, "train", "1-train-a1")
    assert (status.document["code"], status.document["fault"]) == (
        "memory_exceeded", "infrastructure",
    )  # fmt: skip


def test_a_job_within_its_limits_ends_as_ever(run, cage):
    limits = Limits(500 * MIB, 50.0, 50.0, 300, 100 * MIB, 100 * MIB)
    assert run("look", limits, cage, **looked_for()).state == JobState.SUCCEEDED


def looked_for(**parameters):
    names = ("secret", "home", "input", "code", "handed", "tmp")
    return dict.fromkeys(names, "/") | {"port": 1} | parameters


def test_what_a_job_in_a_cage_can_reach(run, home, tmp_path):
    """Where bubblewrap does not work, the same job shows what the cage would have hidden."""
    import socket

    caged = Cage(FOUND.program, home / "datasets", home) if FOUND.program else None
    code, kept = tmp_path / "caged_stage.py", Path("/tmp") / f"kept-{uuid4()}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        status = run(
            "look", Limits(), caged, secret=str(home / "secret.key"), home=str(home),
            input=str(home / "datasets/mine"), code=str(code), port=server.getsockname()[1],
            handed=str(home / "datasets/another"), tmp=str(kept),
        )  # fmt: skip
    assert status.state == JobState.SUCCEEDED
    seen = status.document["figures"]
    assert seen["input"] == "mine"
    assert seen["output"] == seen["tmp"] == "written"
    assert (home / "work/1/validate/made").read_text() == "x"
    if caged:
        assert seen["secret"] == seen["database"] == seen["shadow"] == "FileNotFoundError"
        assert seen["others"] == ["mine"]
        assert seen["handed on"] == "FileNotFoundError"
        assert seen["spoil input"] == seen["spoil code"] == "OSError"  # a read-only file system
        assert seen["network"] == "ConnectionRefusedError"  # its own loopback, with nobody there
        assert seen["processes"] <= 3
        assert (home / "datasets/mine/a.jsonl").read_text() == "mine"
        assert code.read_text() == STAGE
    else:
        assert seen["secret"] == "canary"
        assert seen["network"] == "done"
    assert kept.exists() == (not caged)
    kept.unlink(missing_ok=True)


def test_the_installation_is_shown_to_read_only():
    """Our packages, Python and libraries; not the site, its settings or the history."""
    shown = cages.installation()
    assert ROOT / "submissions" in shown
    assert Path(sys.prefix) in shown
    assert not {ROOT, ROOT / "platform", ROOT / ".git", Path.home(), Path("/")} & set(shown)
    arguments = Cage("bwrap", Path("/d"), Path("/h")).prefix
    assert "--unshare-all" in cages._base("bwrap")
    assert callable(arguments)


def test_only_inputs_of_the_submission_itself_are_shown(home):
    """An earlier stage wrote where its results lie, and may have been taken over."""
    (home / "work/1/train/model").mkdir(parents=True)
    (home / "work/2/train/model").mkdir(parents=True)
    (home / "work/1/train/link").symlink_to(home)
    uris = {
        "own": home / "work/1/train/model", "dataset": home / "datasets/mine",
        "another": home / "work/2/train/model", "all": home / "datasets", "home": home,
        "link": home / "work/1/train/link", "up": home / "work/1/../../secret.key",
    }  # fmt: skip
    inputs = {name: {"uri": path.as_uri(), "sha256": ""} for name, path in uris.items()}
    inputs["elsewhere"] = {"uri": "s3://bucket/key", "sha256": ""}
    document = {"stage": "evaluate", "inputs": inputs,
                "output": (home / "work/1/evaluate").as_uri()}  # fmt: skip
    job = home / "jobs/1-evaluate-a1"
    line = Cage("bwrap", home / "datasets", home).prefix(job, JobSpec("m", document, "smoke"))
    below = [word for word in line if word.startswith(str(home)) and word != str(home)]
    assert set(below) == {
        str(home / "work/1/train/model"), str(home / "datasets/mine"), str(job), str(job / "tmp"),
        str(home / "work/1/evaluate"),
    }  # fmt: skip
    assert line.index("--tmpfs") < line.index(str(job))


def test_a_link_in_a_jobs_folder_shows_nothing_of_ours(run, home):
    """The log, the progress and the documents of a job that was taken over."""
    assert run("look", Limits(), None, **looked_for()).state == JobState.SUCCEEDED
    folder = home / "jobs/1-validate-a1"
    backend = LocalBackend(home / "jobs", 2)
    for name in ("log.txt", "progress.jsonl", "launch"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(home / "secret.key")
    assert backend.logs("1-validate-a1", 1000) == ""
    assert backend.status("1-validate-a1").progress == {}
    (folder / "log.txt").unlink()
    os.mkfifo(folder / "log.txt")
    assert backend.logs("1-validate-a1", 1000) == ""  # and does not wait for a writer
    (folder / "result.json").unlink()
    (folder / "result.json").symlink_to(home / "secret.key")
    with pytest.raises(OSError):
        backend.status("1-validate-a1")
    (folder / "closed").unlink(missing_ok=True)
    (folder / "closed").symlink_to(home / "made")
    with pytest.raises(OSError):
        backend.cancel("1-validate-a1")
    assert not (home / "made").exists()


def test_a_document_that_is_too_large_is_not_read(run, home, monkeypatch):
    assert run("look", Limits(), None, **looked_for()).state == JobState.SUCCEEDED
    monkeypatch.setattr("crucible.jobs.backends.directory.LARGEST", 10)
    status = LocalBackend(home / "jobs", 2).status("1-validate-a1")
    assert (status.state, status.document["code"]) == (JobState.FAILED, "artifact_corrupt")
    assert status.document["message"] == "result.json of 1-validate-a1 is larger than 10 bytes"


def test_without_bubblewrap_the_words_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cage_found("auto") == Found(
        "", "jobs are not in a cage: bubblewrap (bwrap) is not installed"
    )
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    assert "No permissions to create" in cage_found("auto").words
    assert not cage_found("off").program


def test_a_site_that_requires_a_cage_does_not_start_without(monkeypatch, tmp_path, settings):
    from crucible.jobs.checks import cage_is_as_required

    monkeypatch.setenv("PATH", str(tmp_path))
    settings.CRUCIBLE_CAGE = "required"
    assert [problem.id for problem in cage_is_as_required()] == ["crucible.E021"]
    settings.CRUCIBLE_CAGE = "auto"
    assert [problem.id for problem in cage_is_as_required()] == ["crucible.W020"]
    settings.CRUCIBLE_CAGE = "off"
    assert cage_is_as_required() == []
    settings.CRUCIBLE_CAGE = "on"
    assert [problem.id for problem in cage_is_as_required()] == ["crucible.E020"]


def test_a_required_cage_that_works_no_longer_is_not_left_out(monkeypatch, tmp_path, settings):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings.CRUCIBLE_CAGE = "required"
    assert cage_here().program == "bwrap"
    settings.CRUCIBLE_CAGE = "auto"
    assert cage_here() is None


def test_jobs_of_the_site_get_limits_and_what_they_may_read(settings, tmp_path):
    settings.CRUCIBLE_EVAL_DATA, settings.CRUCIBLE_SUITE = str(tmp_path / "data"), "core"
    backend = backend_get("local")
    assert backend.limits_of("train", "smoke") == limits_of("train", "smoke")
    assert bool(backend.cage) == bool(FOUND.program)
    if backend.cage:
        assert backend.cage.readable == (tmp_path / "data",)
        assert backend.cage.hidden == settings.HOME


@pytest.mark.django_db
def test_the_health_page_says_whether_jobs_are_caged(client, settings):
    settings.CRUCIBLE_CAGE = "off"
    told = json.loads(client.get("/health/pipeline/?format=json").content)["cage"]
    assert told == {"on": False, "is": "jobs are not in a cage: CRUCIBLE_CAGE is off"}
    assert "CRUCIBLE_CAGE is off" in client.get("/health/pipeline/").content.decode()
    settings.CRUCIBLE_CAGE = "auto"
    told = json.loads(client.get("/health/pipeline/?format=json").content)["cage"]
    assert told == {"on": bool(FOUND.program), "is": FOUND.words}
