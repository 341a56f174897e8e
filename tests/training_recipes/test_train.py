"""Training with Composer: the whole run, interruption at any step, and what is refused."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from submissions.failures import Failure
from training_recipes.engines import composer_engine
from training_recipes.model import OpenLM
from training_recipes.model_dir import load_model_dir, weights_sha256
from training_recipes.packed_rows import read_rows, read_summary
from training_recipes.run_state import FILE, load_state
from training_recipes.scales import Scale
from training_recipes.train import loss_curve, train
from training_recipes.training_rules import build_optimizer, learning_rate, training_loss

# Trains the scale in argv[3] and kills its own process with SIGKILL after the step in argv[4].
KILLED_RUN = """
import json, os, signal, sys
from pathlib import Path
from training_recipes.scales import scale_of
from training_recipes.train import train

def progress(step, of, unit, message="", **metrics):
    if step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

train(Path(sys.argv[1]), Path(sys.argv[2]), scale_of("tiny", json.loads(sys.argv[3])),
      resume=True, progress=progress)
"""
Report = tuple[Path, dict[str, Any]]


def test_a_run_learns_and_reports_what_it_did(trained: Report, tiny: Scale) -> None:
    output, figures = trained
    curve = figures["loss_curve"]
    assert curve[0][1] == pytest.approx(math.log(4096), abs=1)
    assert figures["loss"] < 3.5  # the texts have 16 words, so that little remains to guess
    assert curve[-1][0] == figures["steps"] == tiny.steps
    assert figures["tokens"] == tiny.tokens_trained == tiny.steps * 32 * 32
    assert figures["recipe_sha256"] == tiny.recipe_sha256
    assert figures["mfu"] is None
    assert sorted(p.name for p in output.parent.iterdir()) == ["model"]  # nothing is left beside
    assert figures["weights_sha256"] == weights_sha256(load_model_dir(output))
    json.dumps(figures, allow_nan=False)


def test_composer_runs_exactly_the_rules(trained: Report, tokens: Path, tiny: Scale) -> None:
    """The same run as a plain loop, written out: the weights are equal bit for bit."""
    torch.manual_seed(tiny.seed)
    model = OpenLM(tiny.model)
    optimizer = build_optimizer(model, tiny.optimizer)
    packed = list(read_rows(tokens, read_summary(tokens)))
    rows = torch.from_numpy(np.stack(packed).astype(np.int64))
    for step in range(tiny.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(tiny.optimizer, step, tiny.steps)
        batch = rows[32 * step : 32 * (step + 1)]
        optimizer.zero_grad()
        training_loss(model(batch[:, :-1]), batch[:, 1:], tiny.optimizer.z_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), tiny.optimizer.grad_clip)
        optimizer.step()
    assert weights_sha256(model) == trained[1]["weights_sha256"]


def test_a_run_killed_twice_ends_with_the_same_weights(
    tmp_path: Path, tokens: Path, tiny: Scale, tiny_content: dict[str, Any], trained: Report
) -> None:
    output, home, folder = tmp_path / "out" / "model", tmp_path / "home", tmp_path / "cwd"
    for path in (output.parent, home, folder):
        path.mkdir()
    root = str(Path(composer_engine.__file__).parents[2])
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": root}
    for step in (10, 47):  # between two states of three steps each, so that work is repeated
        arguments = [str(tokens), str(output), json.dumps(tiny_content), str(step)]
        done = subprocess.run(
            [sys.executable, "-c", KILLED_RUN, *arguments],
            env=environment, cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert done.stdout == ""
        assert not output.exists()
    seen: list[int] = []
    resumed = train(
        tokens, output, tiny, resume=True,
        progress=lambda step, of, unit, message="", **metrics: seen.append(step),
    )  # fmt: skip
    assert seen == list(range(46, tiny.steps + 1))
    assert resumed["weights_sha256"] == trained[1]["weights_sha256"]
    assert resumed["loss_curve"] == trained[1]["loss_curve"]
    assert list(home.rglob("*")) == list(folder.rglob("*")) == []  # Composer writes nothing else


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
    assert weights_sha256(load_model_dir(output)) == trained[1]["weights_sha256"]


def test_another_run_does_not_go_on_from_an_unfinished_one(
    tmp_path: Path, tokens: Path, tiny: Scale
) -> None:
    output = tmp_path / "model"
    stop_at(30, tokens, output, tiny)
    with pytest.raises(Failure, match="differs in seed") as caught:
        train(tokens, output, tiny, seed=5, resume=True)
    assert caught.value.code == "output_exists"
    with pytest.raises(Failure, match="holds a run already"):
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


def test_rows_that_do_not_fit_the_scale_are_refused(
    tmp_path: Path, tokens: Path, tiny: Scale
) -> None:
    longer = replace(tiny, model=replace(tiny.model, seq_len=64))
    hungrier = replace(tiny, multiplier=3)
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
    assert curve[0] == [5, 3.0]
    assert curve[-1] == [1000, 998.0]
    assert loss_curve([2.0, 1.0]) == [[1, 2.0], [2, 1.0]]


class Stopped(Exception):
    """Raised from a progress call, in place of whatever may stop a process."""


def stop_at(step: int, tokens: Path, output: Path, scale: Scale) -> None:
    def progress(done: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        if done == step:
            raise Stopped

    with pytest.raises(Stopped):
        train(tokens, output, scale, progress=progress)
