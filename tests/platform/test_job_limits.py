"""The defaults of a job's limits, what the file changes, and documents that a job left spoiled."""

from __future__ import annotations

import fcntl
import json
import subprocess

import pytest
from msgspec import structs

from crucible.jobs.backends.base import JobState
from crucible.jobs.backends.local import LocalBackend
from crucible.jobs.backends.local_limits import limits_of
from crucible.jobs.backends.rules import rules_load
from submissions.limits import Limits, Usage, blamed, exceeded
from submissions.states import Fault, Stage
from training_recipes.cost import cost_of
from training_recipes.scales import load_scale, scale_names


@pytest.mark.parametrize("name", ["result.json", "failure.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"seconds": NaN}', b"[" * 100_000, b'{"code": "lost"}', b"\xff"],
)
def test_an_ending_that_is_no_valid_document_is_a_failure(tmp_path, name, content):
    """Not an exception, which would meet every look at the job again."""
    folder = tmp_path / "jobs/1-validate-a1"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    (folder / "progress.jsonl").write_bytes(b"[" * 4000 + b"\n")
    status = LocalBackend(tmp_path / "jobs", 2).status("1-validate-a1")
    assert (status.state, status.progress) == (JobState.FAILED, {})
    assert status.document["code"] == "artifact_corrupt"
    assert status.document["fault"] == "infrastructure"
    assert name in status.document["message"]


@pytest.fixture
def bystander():
    """The group of a process that is no job's."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process.pid
    assert process.poll() is None
    process.kill()
    process.wait()


@pytest.mark.parametrize("group", [0, 1, -1, "2", None, "bystander"])
def test_no_group_of_others_is_stopped(tmp_path, group, bystander):
    """A job that names the site's group, or everybody's, as its own."""
    group = bystander if group == "bystander" else group
    folder = tmp_path / "jobs/1-validate-a1"
    folder.mkdir(parents=True)
    (folder / "process.json").write_text(json.dumps({"pid": 5, "group": group}))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not LocalBackend(tmp_path / "jobs", 2).cancel("1-validate-a1")


@pytest.mark.parametrize("scale", ["smoke", "cpu-300k"])
def test_no_default_ends_an_honest_job_on_a_slow_machine(scale):
    """Twenty times slower than the machine of docs/cost.md, with one core."""
    cost = cost_of(load_scale(scale))
    needed = {
        Stage.TRAIN: cost.train.seconds,
        Stage.EVALUATE: max(work.seconds for work in cost.evaluate.values()),
        # A dataset of ten times what is read, in each stage that reads it.
        **dict.fromkeys(
            (Stage.VALIDATE, Stage.SCAN, Stage.PROFILE, Stage.TOKENIZE),
            10 * 3600 * cost.tokenise_cpu_hours,
        ),
        Stage.SCORE: 1.0,
    }
    assert set(needed) == set(Stage)
    for stage, seconds in needed.items():
        limits = limits_of(stage, scale)
        start = 600.0  # interpreter, libraries and the contamination index
        assert min(limits.cpu_seconds, limits.wall_seconds) > start + 20 * seconds


def test_the_limits_are_looked_at_in_turn():
    limits = Limits(100, 10.0, 20.0, None, None, 50)
    assert exceeded(limits, Usage(100, 10.0, 20.0, 50)) is None
    assert exceeded(limits, Usage(101, 0, 0, 0)).code == "memory_exceeded"
    assert exceeded(limits, Usage(0, 11.0, 0, 0)).code == "cpu_time_exceeded"
    assert exceeded(limits, Usage(0, 0, 21.0, 0)).code == "time_exceeded"
    assert exceeded(limits, Usage(0, 0, 0, 51)).code == "disk_exceeded"
    assert exceeded(Limits(), Usage(10**15, 1e9, 1e9, 10**15)) is None


@pytest.mark.parametrize(
    ("stage", "cpu", "fault"),
    [
        (Stage.SCAN, 21.0, Fault.PARTICIPANT),
        (Stage.SCAN, 5.0, Fault.INFRASTRUCTURE),  # it waited for a slow machine
        (Stage.EVALUATE, 21.0, Fault.INFRASTRUCTURE),
    ],
)
def test_whose_fault_a_job_is_that_takes_too_long(stage, cpu, fault):
    usage = Usage(0, cpu, 21.0, 0)
    failure = exceeded(Limits(wall_seconds=20.0), usage)
    assert blamed(failure, stage, usage).fault == fault


@pytest.mark.parametrize("scale", scale_names())
@pytest.mark.parametrize("stage", list(Stage))
def test_every_stage_has_all_limits_at_every_scale(stage, scale):
    assert all(value and value > 0 for value in structs.astuple(limits_of(stage, scale)))


def test_larger_scales_have_larger_limits():
    small, large = (limits_of("tokenize", scale) for scale in ("smoke", "7b-2x"))
    assert small.memory_bytes < large.memory_bytes
    assert small.disk_bytes < large.disk_bytes
    assert small.cpu_seconds < large.cpu_seconds


def test_the_file_changes_what_it_names(tmp_path):
    path = tmp_path / "backends.toml"
    path.write_text(
        '[[local.limits]]\nstages = ["train"]\nscales = ["smoke"]\nmemory_gib = 1.5\n'
        "wall_hours = 0\n[[local.limits]]\nopen_files = 64\n"
    )
    rules = rules_load(str(path))
    assert rules.scheduler_for("train", "smoke") is None
    plain, changed = limits_of("train", "smoke"), limits_of("train", "smoke", rules.limits)
    assert (changed.memory_bytes, changed.wall_seconds) == (3 * 2**29, None)
    assert (changed.cpu_seconds, changed.open_files) == (plain.cpu_seconds, plain.open_files)
    assert limits_of("score", "smoke", rules.limits).open_files == 64


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[local]\nslots = 2\n", 'local has the unknown key "slots"'),
        ("[[local.limits]]\nmemory = 3\n", 'local.limits[0] has the unknown key "memory"'),
        ('[[local.limits]]\nmemory_gib = "3"\n', "memory_gib is a string, not a number"),
        ("[[local.limits]]\nmemory_gib = -1\n", "memory_gib must be at least 0"),
        (
            "[[local.limits]]\nopen_files = true\n",
            "open_files is a truth value, not a whole number",
        ),
        ('[[local.limits]]\nstages = ["training"]\n', "no stage 'training'"),
        ('[[local.limits]]\nscales = "smoke"\n', "scales is a string, not a list"),
    ],
)
def test_wrong_limits_are_named_with_what_is_wrong(tmp_path, text, complaint):
    path = tmp_path / "backends.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        rules_load(str(path))
    assert complaint in str(caught.value)
