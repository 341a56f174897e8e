"""Training with Composer: the whole run, interruption at any step, and what is refused."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submissions.codec import encode
from submissions.failures import Failure
from submissions.job import FAILURE, JOB, run_stage
from tests.rounding import openlm_operations, rounding
from tests.training_recipes.conftest import rows_in_order
from training_recipes.engines import composer_engine, recorder
from training_recipes.hardware import Hardware
from training_recipes.model import OpenLM
from training_recipes.model_dir import load_model_dir, weights_sha256
from training_recipes.packed_rows import (
    read_summary,
    write_manifest_and_summary,
    write_shard,
)
from training_recipes.results import TrainResult
from training_recipes.run_state import FILE, load_state
from training_recipes.scales import Scale
from training_recipes.train import loss_curve, stage, train
from training_recipes.training_rules import build_optimizer, learning_rate, training_loss

# Trains the scale in argv[3] and kills its own process with SIGKILL after the step in argv[4] or,
# if argv[5] is "save", in the middle of the next state that it writes. "fsdp" in argv[6] shards.
KILLED_RUN = """
import json, os, signal, sys
from pathlib import Path
from training_recipes import tensor_files
from training_recipes.hardware import Hardware
from training_recipes.scales import scale_of
from training_recipes.train import train

def write(sink, content):
    os.write(sink.fileno(), content)
    os.kill(os.getpid(), signal.SIGKILL)

def progress(step, of, unit, message="", **metrics):
    if step == int(sys.argv[4]):
        if sys.argv[5] == "save":
            tensor_files._Sink.write = write
        else:
            os.kill(os.getpid(), signal.SIGKILL)

train(Path(sys.argv[1]), Path(sys.argv[2]), scale_of("tiny", json.loads(sys.argv[3])),
      resume=True, progress=progress, hardware=Hardware(fsdp="fsdp" in sys.argv[6:]))
"""
Report = tuple[Path, TrainResult]


def test_a_run_learns_and_reports_what_it_did(trained: Report, tiny: Scale) -> None:
    output, figures = trained
    curve = figures.loss_curve
    assert curve[0][1] == pytest.approx(math.log(4096), abs=1)
    assert figures.loss < 3.5  # the texts have 16 words, so that little remains to guess
    assert curve[-1][0] == figures.steps == tiny.steps
    assert figures.tokens == tiny.tokens_trained == tiny.steps * 32 * 32
    assert figures.recipe_sha256 == tiny.recipe_sha256
    assert figures.mfu is None
    assert sorted(p.name for p in output.parent.iterdir()) == ["model"]  # nothing is left beside
    assert figures.weights_sha256 == weights_sha256(load_model_dir(output))
    assert encode(figures)


def test_composer_runs_exactly_the_rules(trained: Report, tokens: Path, tiny: Scale) -> None:
    """The same run as a plain loop, written out: the weights are equal bit for bit."""
    torch.manual_seed(tiny.seed)
    model = OpenLM(tiny.model)
    optimizer = build_optimizer(model, tiny.optimizer)
    packed = rows_in_order(tokens, read_summary(tokens))
    rows = torch.from_numpy(np.stack(packed).astype(np.int64))
    for step in range(tiny.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(tiny.optimizer, step, tiny.steps)
        batch = rows[32 * step : 32 * (step + 1)]
        optimizer.zero_grad()
        training_loss(model(batch[:, :-1]), batch[:, 1:], tiny.optimizer.z_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), tiny.optimizer.grad_clip)
        optimizer.step()
    assert weights_sha256(model) == trained[1].weights_sha256


def test_a_run_killed_twice_ends_with_the_same_weights(
    tmp_path: Path, tokens: Path, tiny: Scale, tiny_content: dict[str, Any], trained: Report
) -> None:
    output, home, folder = tmp_path / "out" / "model", tmp_path / "home", tmp_path / "cwd"
    for path in (output.parent, home, folder):
        path.mkdir()
    root = str(Path(composer_engine.__file__).parents[2])
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": root}
    # Between two states of three steps each, so that work is repeated, and while one is written.
    for step, moment in ((10, "step"), (47, "save")):
        arguments = [str(tokens), str(output), json.dumps(tiny_content), str(step), moment]
        done = subprocess.run(
            [sys.executable, "-c", KILLED_RUN, *arguments],
            env=environment, cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert done.stdout == ""
        assert not output.exists()
    work = output.with_name(".model.partial")
    assert sorted(p.name for p in work.iterdir()) == [f".{FILE}.partial", FILE]
    seen: list[int] = []
    resumed = train(
        tokens, output, tiny, resume=True,
        progress=lambda step, of, unit, message="", **metrics: seen.append(step),
    )  # fmt: skip
    assert seen == list(range(46, tiny.steps + 1))
    assert resumed.weights_sha256 == trained[1].weights_sha256
    assert resumed.loss_curve == trained[1].loss_curve
    assert list(home.rglob("*")) == list(folder.rglob("*")) == []  # Composer writes nothing else


def test_two_processes_with_shards_are_killed_and_one_without_goes_on(
    tmp_path: Path, tokens: Path, tiny: Scale, tiny_content: dict[str, Any], trained: Report
) -> None:
    output = tmp_path / "model"
    root = str(Path(composer_engine.__file__).parents[2])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                "--no-python", sys.executable, "-c", KILLED_RUN]  # fmt: skip
    for step in ("10", "20"):  # the second goes on from the state that the first left
        arguments = [str(tokens), str(output), json.dumps(tiny_content), step, "step", "fsdp"]
        done = subprocess.run(
            [*torchrun, *arguments],
            env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True,
        )  # fmt: skip
        assert "Signal 9 (SIGKILL)" in done.stderr, done.stderr
        state = torch.load(tmp_path / ".model.partial" / FILE, weights_only=True)
        assert int(step) - 3 < len(state["losses"]) <= int(step)
    figures = train(tokens, output, tiny, resume=True)
    assert figures.loss_curve == same_curve(trained[1].loss_curve, tiny)


def test_a_slow_run_is_saved_by_the_clock(
    tmp_path: Path, tokens: Path, tiny: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_UNSAVED", 0.0)
    stop_at(2, tokens, tmp_path / "model", tiny)  # the first regular state is after 3
    state = load_state(tmp_path / ".model.partial", {})
    assert state is not None
    assert state.step == 2


def test_a_finished_run_is_returned_and_no_other_takes_its_place(
    tmp_path: Path, tokens: Path, tiny: Scale, trained: Report
) -> None:
    output = tmp_path / "model"
    shutil.copytree(trained[0], output)
    assert train(tokens, output, tiny, resume=True) == trained[1]
    for arguments in ({"resume": False}, {"resume": True, "seed": 5}):
        with pytest.raises(Failure) as caught:
            train(tokens, output, tiny, **arguments)
        assert caught.value.code == "output_exists"
    assert weights_sha256(load_model_dir(output)) == trained[1].weights_sha256


def test_another_run_does_not_go_on_from_an_unfinished_one(
    tmp_path: Path, tokens: Path, tiny: Scale
) -> None:
    output = tmp_path / "model"
    stop_at(30, tokens, output, tiny)
    with pytest.raises(Failure, match="differs in seed") as caught:
        train(tokens, output, tiny, seed=5, resume=True)
    assert caught.value.code == "output_exists"
    with pytest.raises(Failure, match="already holds a run"):
        train(tokens, output, tiny)
    state = load_state(tmp_path / ".model.partial", {})
    assert state is not None
    assert state.step == 30


def test_a_damaged_state_is_refused(tmp_path: Path, tokens: Path, tiny: Scale) -> None:
    stop_at(6, tokens, tmp_path / "model", tiny)
    path = tmp_path / ".model.partial" / FILE
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(Failure, match="cannot resume from") as caught:
        train(tokens, tmp_path / "model", tiny, resume=True)
    assert caught.value.code == "artifact_corrupt"


def test_divergence_names_the_step_and_keeps_the_last_good_state(
    tmp_path: Path, tokens: Path, tiny: Scale
) -> None:
    wild = replace(tiny, optimizer=replace(tiny.optimizer, lr=1e30, warmup=0))
    with pytest.raises(Failure, match=r"no longer a number at step \d") as caught:
        train(tokens, tmp_path / "model", wild)
    assert caught.value.code == "diverged"
    assert not (tmp_path / "model").exists()
    state = load_state(tmp_path / ".model.partial", {})
    assert state is None or all(tensor.isfinite().all() for tensor in state.model.values())


def test_a_changed_shard_stops_the_run(tmp_path: Path, tokens: Path, tiny: Scale) -> None:
    folder = tmp_path / "tokens"
    shutil.copytree(tokens, folder)
    with (folder / read_summary(folder).shards[0].name).open("r+b") as file:
        file.seek(5000)
        file.write(b"?")
    with pytest.raises(Failure) as caught:
        train(folder, tmp_path / "model", tiny)
    assert caught.value.code == "artifact_corrupt"


def test_a_shard_that_vanishes_stops_the_run_and_the_last_good_state_stays(
    tmp_path: Path, tokens: Path, tiny: Scale, trained: Report
) -> None:
    folder = in_small_shards(tokens, tmp_path / "tokens")
    late = read_summary(folder).shards[6]  # from row 1,536: needed at step 48
    (folder / late.name).rename(tmp_path / late.name)
    with pytest.raises(Failure, match=f"{late.name} is missing") as caught:
        train(folder, tmp_path / "model", tiny)
    assert caught.value.code == "artifact_corrupt"
    state = load_state(tmp_path / ".model.partial", {})
    assert state is not None
    assert state.step == 48
    (tmp_path / late.name).rename(folder / late.name)
    figures = train(folder, tmp_path / "model", tiny, resume=True)
    assert figures.weights_sha256 == trained[1].weights_sha256


def test_a_full_disk_stops_the_run_and_the_last_good_state_stays(
    tmp_path: Path, tokens: Path, tiny: Scale, trained: Report
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def progress(step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        if step == 30:  # a state is a megabyte
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        with pytest.raises(Failure) as caught:
            train(tokens, tmp_path / "model", tiny, progress=progress)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "disk_full"
    work = tmp_path / ".model.partial"
    assert [path.name for path in work.iterdir()] == [FILE]  # no half of a state beside it
    state = load_state(work, {})
    assert state is not None
    assert state.step == 30
    figures = train(tokens, tmp_path / "model", tiny, resume=True)
    assert figures.weights_sha256 == trained[1].weights_sha256


def test_a_dataset_that_is_too_small_is_read_in_whole_passes(
    tmp_path: Path, tokens: Path, brief: Scale
) -> None:
    folder = in_small_shards(tokens, tmp_path / "tokens", most=2)
    sequences = read_summary(folder).sequences
    assert sequences < brief.rows < 2 * sequences
    figures = train(folder, tmp_path / "model", brief)
    assert figures.tokens == brief.tokens_trained


def test_parts_of_a_batch_give_the_losses_of_the_whole(
    tmp_path: Path, tokens: Path, tiny: Scale, trained: Report
) -> None:
    figures = train(tokens, tmp_path / "model", tiny, hardware=Hardware(micro_batch=8))
    assert figures.weights_sha256 != trained[1].weights_sha256  # sums in another order
    assert figures.loss_curve == same_curve(trained[1].loss_curve, tiny)
    with pytest.raises(Failure, match="micro batch of 5 rows") as caught:
        train(tokens, tmp_path / "other", tiny, hardware=Hardware(micro_batch=5))
    assert caught.value.code == "hardware_unfit"


def test_bfloat16_is_autocast_over_a_residual_stream_in_bfloat16(
    tmp_path: Path, tokens: Path, tiny: Scale, trained: Report
) -> None:
    """Two steps written out, with bfloat16 parameters in forward as under FSDP."""
    amp = replace(tiny, precision="amp_bfloat16")
    stop_at(4, tokens, tmp_path / "model", amp)  # the first state is after 3
    state = load_state(tmp_path / ".model.partial", {})
    assert state is not None
    assert {tensor.dtype for tensor in state.model.values()} == {torch.float32}
    torch.manual_seed(tiny.seed)
    model = OpenLM(tiny.model)
    rows = np.stack(rows_in_order(tokens, read_summary(tokens))[:32]).astype(np.int64)
    batch = torch.from_numpy(rows)
    low = {name: tensor.bfloat16() for name, tensor in model.named_parameters()}
    with torch.autocast("cpu", torch.bfloat16):
        logits = torch.func.functional_call(model, low, (batch[:, :-1],))
        loss = training_loss(logits, batch[:, 1:], tiny.optimizer.z_loss)
    assert state.losses[0] == float(loss)
    assert state.losses[0] != trained[1].loss_curve[0][1]


def test_a_job_may_not_choose_what_the_recipe_fixes(tmp_path: Path) -> None:
    job = {"key": "1-train-a1", "stage": "train", "inputs": {}, "output": tmp_path.as_uri(),
           "parameters": {"scale": "smoke", "lr": 1}, "hashes": {}}  # fmt: skip
    (tmp_path / JOB).write_text(json.dumps(job))
    assert run_stage(stage, [str(tmp_path)]) == 3
    failure = json.loads((tmp_path / FAILURE).read_text())
    assert failure["code"] == "recipe_frozen"
    assert failure["message"] == "lr is fixed by the recipe: it cannot be chosen"


def test_rows_that_do_not_fit_the_scale_are_refused(
    tmp_path: Path, tokens: Path, tiny: Scale
) -> None:
    longer = replace(tiny, model=replace(tiny.model, seq_len=64))
    hungrier = replace(tiny, multiplier=3, max_epochs=2)
    cases = [(longer, "tokens_invalid"), (hungrier, "dataset_too_small")]
    for scale, code in cases:
        with pytest.raises(Failure) as caught:
            train(tokens, tmp_path / "model", scale)
        assert caught.value.code == code
    with pytest.raises(Failure) as caught:
        train(tmp_path, tmp_path / "model", tiny)
    assert caught.value.code == "tokens_invalid"
    with pytest.raises(Failure) as caught:
        train(tokens, tmp_path / "model", tiny, engine="abacus")
    assert caught.value.code == "unknown_engine"


def test_the_curve_has_at_most_200_points_and_every_step() -> None:
    losses = [float(step) for step in range(1, 1001)]
    curve = loss_curve(losses)
    assert len(curve) == 200
    assert curve[0] == (5, 3.0)
    assert curve[-1] == (1000, 998.0)
    assert loss_curve([2.0, 1.0]) == [(1, 2.0), (2, 1.0)]


def same_curve(curve: list[tuple[int, float]], scale: Scale) -> list[Any]:
    """To compare with: sums in another order come to slightly other losses.

    Each step adds its own rounding to the weights'; a curve has four decimals.
    """
    operations = openlm_operations(scale.model, scale.model.seq_len)
    return [
        (step, pytest.approx(loss, abs=1e-4 + rounding(loss, operations * step), rel=0))
        for step, loss in curve
    ]


def in_small_shards(tokens: Path, folder: Path, most: int | None = None) -> Path:
    """The same rows in shards of 256, or the first of them in at most so many shards."""
    folder.mkdir()
    summary = read_summary(tokens)
    rows = (json.dumps(row.tolist()).encode() for row in rows_in_order(tokens, summary))
    numbers = range(summary.sequences // 256)[:most]
    shards = [write_shard(folder, index, islice(rows, 256)) for index in numbers]
    sequences = sum(shard.num_sequences for shard in shards)
    write_manifest_and_summary(folder, replace(summary, shards=shards, sequences=sequences))
    return folder


class Stopped(Exception):
    """Raised from a progress call, in place of whatever may stop a process."""


def stop_at(step: int, tokens: Path, output: Path, scale: Scale) -> None:
    def progress(done: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        if done == step:
            raise Stopped

    with pytest.raises(Stopped):
        train(tokens, output, scale, progress=progress)
