"""The file of CRUCIBLE_BACKENDS, the script of a job, and Slurm's words for trouble."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from crucible.jobs.backends import backend_get, backend_name_for, ray, slurm
from crucible.jobs.backends.base import BackendAway, JobState
from crucible.jobs.backends.rules import Rule, rules_load
from crucible.jobs.backends.scheduler import Refused, Scheduler
from crucible.jobs.backends.script import Launcher, script_of
from crucible.jobs.backends.slurm import SlurmBackend
from training_recipes.scales import scale_names

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "backends.toml"
        path.write_text(text)
        return str(path)

    return write


def test_the_first_rule_that_fits_decides(write, settings):
    settings.CRUCIBLE_BACKENDS = write(
        '[slurm]\nslots = 7\n[[slurm.jobs]]\nstages = ["train"]\nscales = ["1b-1x"]\n'
        'options = ["--nodes=4"]\nprocesses_per_node = 8\n'
        '[[slurm.jobs]]\nstages = ["train", "evaluate"]\n'
    )
    assert backend_name_for("train", "1b-1x") == "slurm"
    assert backend_name_for("evaluate", "smoke") == "slurm"
    assert backend_name_for("validate", "1b-1x") == "local"
    assert backend_get("slurm").slots == 7
    rules = rules_load(settings.CRUCIBLE_BACKENDS).of("slurm")
    assert rules.rule_for("train", "1b-1x") == Rule(
        ("train",), ("1b-1x",), ("--nodes=4",), processes_per_node=8
    )
    assert rules.rule_for("train", "smoke").processes_per_node == 0


def test_tables_are_asked_in_the_files_order(write, settings):
    settings.CRUCIBLE_BACKENDS = write(
        '[ray]\naddress = "http://head:8265/"\nslots = 3\n'
        '[[ray.jobs]]\nstages = ["evaluate"]\nresources = { num_gpus = 0.5, disk = 2 }\n'
        "[[slurm.jobs]]\n"
    )
    assert backend_name_for("evaluate", "1b-1x") == "ray"
    assert backend_name_for("train", "1b-1x") == "slurm"
    assert (backend_get("ray").slots, backend_get("slurm").slots) == (3, 100)
    table = rules_load(settings.CRUCIBLE_BACKENDS).of("ray")
    assert table.address == "http://head:8265"
    assert table.rule_for("evaluate", "1b-1x").resources == {"num_gpus": 0.5, "disk": 2}


def test_without_a_file_all_is_local(settings):
    settings.CRUCIBLE_BACKENDS = ""
    assert backend_name_for("train", "7b-2x") == "local"
    with pytest.raises(KeyError, match="nowhere"):
        backend_get("nowhere")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[slurm", "Expected ']'"),
        ("[sge]\n", 'the unknown key "sge"'),
        ("[ray]\n", "address must be that of the head"),
        ('[ray]\naddress = "head:8265"\n', "address must be that of the head"),
        ('[slurm]\naddress = "http://head:8265"\n', 'slurm has the unknown key "address"'),
        (
            '[ray]\naddress = "http://head"\n[[ray.jobs]]\noptions = []\n',
            'unknown key "options"',
        ),
        ("[[slurm.jobs]]\nresources = {}\n", 'slurm.jobs[0] has the unknown key "resources"'),
        (
            '[ray]\naddress = "http://head"\n[[ray.jobs]]\nresources = { num_gpus = "1" }\n',
            "resources[…] is a string, not a number",
        ),
        ("[slurm]\nslots = 0\n", "slurm.slots must be at least 1"),
        ('[[slurm.jobs]]\nstage = ["train"]\n', 'the unknown key "stage"'),
        ('[[slurm.jobs]]\nstages = ["training"]\n', "no stage 'training'"),
        ('[[slurm.jobs]]\nscales = ["1B-9x"]\n', "no scale '1b-9x'"),
        (
            '[[slurm.jobs]]\noptions = "--nodes=2"\n',
            "options is a string, not a list",
        ),
        ('[[slurm.jobs]]\nstages = ["evaluate"]\nprocesses_per_node = 2\n', "train alone"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(write, text, complaint):
    with pytest.raises(ValueError, match=r"backends\.toml") as caught:
        rules_load(write(text))
    assert complaint in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.toml: No such file"):
        rules_load(str(tmp_path / "none.toml"))


def test_the_example_is_a_right_file_and_knows_every_large_scale():
    rules = rules_load(str(ROOT / "deploy/slurm/backends.toml")).of("slurm")
    for scale in scale_names():
        rule, on_cpu = rules.rule_for("train", scale), scale in ("cpu-300k", "smoke")
        assert (rule is None) == on_cpu
        small = scale.partition("-")[0] in ("11m", "36m", "79m", "154m")
        assert rule is None or rule.processes_per_node == (0 if small else 8)


def test_the_examples_of_the_page_are_right_files(write):
    page = (ROOT / "docs/backends.md").read_text()
    examples = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    tables = [rules_load(write(example)).tables for example in examples]
    assert [list(table) for table in tables][:4] == [[], ["slurm"], ["slurm"], ["ray"]]
    assert all(table.jobs for tables_of_one in tables for table in tables_of_one.values())


def test_a_script_ends_at_once_when_the_attempt_is_over(tmp_path):
    script = tmp_path / "job.sh"
    folder = tmp_path / "7-train-a1"
    folder.mkdir()
    script.write_text(script_of(folder, "no_such_module", Rule(), slurm.LAUNCHER))
    run = ["bash", str(script)]
    environment = {"SLURM_JOB_ID": "1", "PATH": "/usr/bin:/bin"}
    assert subprocess.run(run, env=environment, capture_output=True).returncode == 1
    assert (folder / "starts").read_text().count("\n") == 1
    (folder / "closed").touch()
    assert subprocess.run(run, env=environment, capture_output=True).returncode == 0
    assert (folder / "starts").read_text().count("\n") == 1


def test_training_on_several_nodes_is_torchruns(tmp_path):
    rule = Rule(processes_per_node=8)
    text = script_of(tmp_path / "a b", "training_recipes.train", rule, slurm.LAUNCHER)
    assert "torch.distributed.run" in text
    assert '--nnodes="$SLURM_JOB_NUM_NODES"' in text
    assert "--nproc-per-node=8" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_a_script_for_ray_writes_the_log_itself_and_trains_on_one_node(tmp_path):
    folder = tmp_path / "a b"
    launcher = Launcher("an-id 0", ray.TORCHRUN, folder / "log.txt")
    text = script_of(folder, "training_recipes.train", Rule(processes_per_node=8), launcher)
    assert "--standalone --nproc-per-node=8" in text
    assert "SLURM" not in text
    folder.mkdir()
    script = tmp_path / "job.sh"
    script.write_text(script_of(folder, "no_such_module", Rule(), launcher))
    done = subprocess.run(["bash", str(script)], env={"PATH": "/usr/bin:/bin"}, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert "no_such_module" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("launcher", [slurm.LAUNCHER, Launcher("an-id 0", ray.TORCHRUN)])
def test_the_scheduler_chooses_the_devices_not_the_site(tmp_path, monkeypatch, launcher):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert "CUDA_VISIBLE_DEVICES" not in script_of(tmp_path, "m", Rule(), launcher)
    named = Rule(environment={"CUDA_VISIBLE_DEVICES": "1"})
    assert "export CUDA_VISIBLE_DEVICES=1" in script_of(tmp_path, "m", named, launcher)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller",
            BackendAway,
        ),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv", BackendAway),
        ("sbatch: error: Batch job submission failed: Invalid partition name specified", Refused),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition",
            Refused,
        ),
    ],
)
def test_what_passes_is_told_from_what_does_not(tmp_path, monkeypatch, words, kind):
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(kind, match="Batch job submission failed"):
        Scheduler().submit(tmp_path / "job.sh", [])


def test_a_machine_without_slurm_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendAway, match="squeue is not installed"):
        Scheduler().entries("1-train-a1", "/jobs/1-train-a1")


def test_a_job_that_no_node_could_start_is_taken_back_and_is_lost(tmp_path, monkeypatch):
    """Slurm requeues it in a held state, from which only an administrator releases it."""
    key, root = "7-train-a1", tmp_path / "jobs"
    (root / key).mkdir(parents=True)
    programs = {
        "squeue": f"""state=PENDING; test -e {tmp_path}/cancelled && state=CANCELLED
echo "3|$state|launch failed requeued held|{key}|{root / key}\"""",
        "scancel": f'echo "$@" > {tmp_path}/cancelled',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    backend = SlurmBackend(root, "")
    status = backend.status(key)
    assert (status.state, status.note) == (
        JobState.RUNNING, "Slurm: no node could start it; it is withdrawn",
    )  # fmt: skip
    assert (tmp_path / "cancelled").read_text() == f"--name={key} 3\n"
    assert backend.status(key).state == JobState.LOST
