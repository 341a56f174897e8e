"""The job contract, with stages run as processes of their own, as the platform runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from submissions.codec import convert, decode, to_json
from submissions.failures import Failure, FailureDocument
from submissions.job import (
    Artifact,
    Job,
    ProgressLine,
    ResultDocument,
    StageResult,
    path_of_uri,
    run_stage,
    write_json_atomically,
)

# A stage that leaves a mark when it starts, and works through ten steps of which it keeps account
# in its output folder, so that another attempt goes on where the last one was killed.
STAGE = """
import sys, time
from submissions.job import StageResult, run_stage

def stage(job):
    with (job.directory / "starts").open("a") as file:
        file.write("x")
    done = job.output / "done"
    for step in range(len(done.read_text()) if done.exists() else 0, 10):
        time.sleep(job.parameters["pause"])
        with done.open("a") as file:
            file.write(str(step))
        job.progress(step + 1, 10, "steps", loss=float("nan"))
    return StageResult({}, {"order": done.read_text()})

sys.exit(run_stage(stage))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A job directory, as the platform writes it."""
    (tmp_path / "stage.py").write_text(STAGE)
    path = tmp_path / "job"
    path.mkdir()
    spec = {"key": "7-count-a1", "stage": "count", "inputs": {}, "parameters": {"pause": 0},
            "output": (tmp_path / "output").as_uri()}  # fmt: skip
    (path / "job.json").write_text(json.dumps(spec))
    return path


def slow_down(directory: Path, pause: float) -> None:
    spec = json.loads((directory / "job.json").read_text())
    spec["parameters"]["pause"] = pause
    (directory / "job.json").write_text(json.dumps(spec))


def start(directory: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(directory.parent / "stage.py"), str(directory)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def starts(directory: Path) -> int:
    path = directory / "starts"
    return len(path.read_text()) if path.exists() else 0


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen within 10 s")


def test_a_finished_stage_is_not_run_again(directory: Path) -> None:
    assert start(directory).wait() == 0
    first = (directory / "result.json").read_bytes()
    assert start(directory).wait() == 0
    assert starts(directory) == 1
    assert (directory / "result.json").read_bytes() == first
    result = json.loads(first)
    assert (result["key"], result["stage"]) == ("7-count-a1", "count")
    assert result["figures"] == {"order": "0123456789"}
    assert result["versions"]["python"]
    assert result["hardware"]["cores"] == os.cpu_count()
    assert not (directory / "failure.json").exists()


def test_a_stage_that_runs_is_not_started_twice(directory: Path) -> None:
    slow_down(directory, 0.5)
    first = start(directory)
    try:
        wait_until(lambda: starts(directory) == 1)
        second = start(directory)
        _, said = second.communicate()
        assert second.returncode == 0
        assert b"already running" in said
        assert starts(directory) == 1
        assert first.wait() == 0
    finally:
        first.kill()
        first.communicate()
    assert json.loads((directory / "result.json").read_text())["figures"]["order"] == "0123456789"


def test_a_killed_stage_goes_on_when_it_is_started_again(directory: Path) -> None:
    slow_down(directory, 0.1)
    first = start(directory)
    done = directory.parent / "output" / "done"
    wait_until(lambda: done.exists() and len(done.read_text()) >= 3)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert not (directory / "result.json").exists()
    assert not (directory / "failure.json").exists()
    assert start(directory).wait() == 0
    assert starts(directory) == 2
    assert json.loads((directory / "result.json").read_text())["figures"]["order"] == "0123456789"


def test_progress_ends_with_the_last_step_and_holds_only_numbers(directory: Path) -> None:
    assert start(directory).wait() == 0
    lines = (directory / "progress.jsonl").read_text().splitlines()
    assert len(lines) == 2, "a fast loop writes its first and its last step, at most two a second"
    last = json.loads(lines[-1])
    assert (last["step"], last["of"], last["unit"], last["metrics"]) == (10, 10, "steps", {})
    assert abs(last["time"] - time.time()) < 60


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (Failure("not_json", "bad", shard="a.jsonl", line=3), "not_json", 1),
        (Failure("artifact_missing", "gone"), "artifact_missing", 3),
        # The user's fault at the command line, but nobody's who hands in a dataset.
        (Failure("task_file_missing", "gone"), "task_file_missing", 3),
        (OSError(28, "No space left on device", "/x"), "disk_full", 3),
        (MemoryError(), "out_of_memory", 3),
        (ModuleNotFoundError("No module named 'x'", name="x"), "missing_dependency", 3),
        (ZeroDivisionError("one by none"), "internal_error", 3),
    ],
)
def test_every_error_becomes_a_listed_failure(
    directory: Path, error: Exception, code: str, exit_code: int
) -> None:
    def stage(job: Job) -> StageResult:
        raise error

    assert run_stage(stage, [str(directory)]) == exit_code
    failure = json.loads((directory / "failure.json").read_text())
    assert failure["code"] == code
    assert failure["fault"] == ("participant" if exit_code == 1 else "infrastructure")
    assert failure["next_step"]
    assert not (directory / "result.json").exists()


def test_a_result_that_is_no_json_is_a_failure(directory: Path) -> None:
    def stage(job: Job) -> StageResult:
        return StageResult({}, {"loss": float("nan")})

    assert run_stage(stage, [str(directory)]) == 3
    assert json.loads((directory / "failure.json").read_text())["code"] == "internal_error"
    assert not (directory / "result.json").exists()


def test_a_broken_job_file_is_a_failure(directory: Path) -> None:
    (directory / "job.json").write_text("{")
    assert run_stage(lambda job: StageResult({}, {}), [str(directory)]) == 3
    assert json.loads((directory / "failure.json").read_text())["code"] == "internal_error"


def test_a_failed_stage_may_succeed_later_and_then_leaves_no_failure(directory: Path) -> None:
    def fails(job: Job) -> StageResult:
        raise Failure("lost", "gone")

    assert run_stage(fails, [str(directory)]) == 3
    outputs = {"x": Artifact("file:///x", "0")}
    assert run_stage(lambda job: StageResult(outputs, {}), [str(directory)]) == 0
    assert not (directory / "failure.json").exists()
    result = json.loads((directory / "result.json").read_text())
    assert result["outputs"] == {"x": {"uri": "file:///x", "sha256": "0"}}


def test_uris_are_local_files_or_refused() -> None:
    assert path_of_uri("file:///a/b%20c") == Path("/a/b c")
    for uri in ("s3://bucket/x", "https://host/x", "/a/b", "file://host/a"):
        with pytest.raises(Failure) as caught:
            path_of_uri(uri)
        assert caught.value.code == "artifact_missing"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json_atomically(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json_atomically(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


class Counted(msgspec.Struct, frozen=True):
    """The figures of a stage that counts."""

    order: str
    steps: int = 10


def test_a_result_is_read_as_its_stages_type(directory: Path) -> None:
    assert start(directory).wait() == 0
    data = (directory / "result.json").read_bytes()
    result = decode(ResultDocument, data, code="artifact_corrupt", where="it")
    assert result.figures_as(Counted) == Counted("0123456789")  # with what an older release lacked
    assert result.hardware.cores == os.cpu_count()
    assert convert(ResultDocument, to_json(result), code="artifact_corrupt", where="it") == result
    wrong = structs.replace(result, figures={"order": 3})
    with pytest.raises(Failure, match="result of 7-count-a1, figures: order is a whole") as caught:
        wrong.figures_as(Counted)
    assert (caught.value.code, caught.value.fault) == ("artifact_corrupt", "infrastructure")


def test_a_line_of_progress_is_read_as_its_type(directory: Path) -> None:
    assert start(directory).wait() == 0
    last = (directory / "progress.jsonl").read_bytes().splitlines()[-1]
    line = decode(ProgressLine, last, code="artifact_corrupt", where="it")
    assert (line.step, line.of, line.unit, line.metrics) == (10, 10, "steps", {})


@pytest.mark.parametrize("code", ["disk_full", "a_code_of_a_newer_release"])
def test_a_failure_comes_back_from_its_document(code: str) -> None:
    told = {"code": code, "fault": "infrastructure", "message": "it broke", "shard": "a.jsonl",
            "line": 2, "next_step": "mend it"}  # fmt: skip
    failure = Failure.of(convert(FailureDocument, told, code="internal_error", where="it"))
    known = code if code == "disk_full" else "internal_error"
    assert failure.as_dict() == told | {"code": known}
    assert str(failure) == "a.jsonl:2: it broke"
