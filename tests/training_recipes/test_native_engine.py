"""The plain loop against Composer: equal bit for bit, in one process and in two, sharded or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from submissions.failures import Failure
from tests.rounding import openlm_operations, rounding
from training_recipes.engines import native_engine, recorder
from training_recipes.engines.recorder import READ_EVERY, Recorder
from training_recipes.engines.run import Run
from training_recipes.hardware import DEFAULT, Hardware, Processes
from training_recipes.model import OpenLM
from training_recipes.packed_rows import read_summary
from training_recipes.run_state import FILE, load_state
from training_recipes.scales import Scale
from training_recipes.train import train
from training_recipes.training_rules import build_optimizer

Report = tuple[Path, dict[str, Any]]

# Trains with both engines in these processes, unsharded and sharded, in parts of eight rows; then
# begins a sharded run and dies in it. Also asks all for the smallest of their numbers.
TWO_PROCESSES = """
import json, os, signal, sys
from pathlib import Path
import torch
from training_recipes.engines.devices import agreed
from training_recipes.engines.run import Run
from training_recipes.hardware import Hardware, processes
from training_recipes.scales import scale_of
from training_recipes.train import train

tokens, output, own = Path(sys.argv[1]), Path(sys.argv[2]), processes()
scale = scale_of("tiny", json.loads(sys.argv[3]))
for fsdp in (False, True):
    for engine in ("native", "composer"):
        train(tokens, output / f"{engine}-{fsdp}", scale, engine=engine,
              hardware=Hardware(micro_batch=8, fsdp=fsdp))
run = Run(scale, 1, tokens, None, output, {}, 1, Hardware(), own)
smallest = agreed(7.0 - 2 * own.rank, run, torch.device("cpu"))
(output / f"agreed-{own.rank}").write_text(str(smallest))

def progress(step, of, unit, message="", **metrics):
    if step == 10:
        os.kill(os.getpid(), signal.SIGKILL)

longer = scale_of("tiny", json.loads(sys.argv[4]))
train(tokens, output / "killed", longer, engine="native", progress=progress,
      hardware=Hardware(fsdp=True))
"""


@pytest.fixture(scope="module")
def together(
    tmp_path_factory: pytest.TempPathFactory, tokens: Path, tiny_content: dict[str, Any]
) -> Path:
    """What two processes left: four finished runs of a few steps, and one that was killed."""
    output = tmp_path_factory.mktemp("together")
    short = tiny_content | {"optimizer": tiny_content["optimizer"] | {"global_batch": 128}}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
               "--no-python", sys.executable, "-c", TWO_PROCESSES, str(tokens), str(output),
               json.dumps(short), json.dumps(tiny_content)]  # fmt: skip
    root = str(Path(native_engine.__file__).parents[2])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True
    )
    assert "Signal 9 (SIGKILL)" in done.stderr, done.stderr
    return output


def report(output: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((output / "training.json").read_text())["figures"]
    return figures


@pytest.fixture
def _no_group_is_left() -> Iterator[None]:
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.usefixtures("_no_group_is_left")
def test_one_process_ends_with_composers_weights(
    tmp_path: Path, tokens: Path, tiny: Scale, trained: Report, sharded: bool
) -> None:
    hardware = Hardware(fsdp=sharded)
    figures = train(tokens, tmp_path / "model", tiny, engine="native", hardware=hardware)
    assert figures.weights_sha256 == trained[1].weights_sha256
    assert figures.loss_curve == trained[1].loss_curve
    assert figures.engine == "native"


@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_end_with_composers_weights(together: Path, sharded: bool) -> None:
    ours, composers = (report(together / f"{name}-{sharded}") for name in ("native", "composer"))
    assert ours["weights_sha256"] == composers["weights_sha256"]
    assert ours["loss_curve"] == composers["loss_curve"]


def test_one_process_finishes_what_two_with_shards_began(
    together: Path, tokens: Path, tiny: Scale, trained: Report
) -> None:
    state = torch.load(together / ".killed.partial" / FILE, weights_only=True)
    assert 7 <= len(state["losses"]) <= 10
    seen: list[int] = []
    figures = train(
        tokens, together / "killed", tiny, engine="native", resume=True,
        progress=lambda step, of, unit, message="", **metrics: seen.append(step),
    )  # fmt: skip
    assert seen[0] == len(state["losses"]) + 1
    operations = openlm_operations(tiny.model, tiny.model.seq_len)
    for (step, loss), (other_step, other) in zip(
        figures.loss_curve, trained[1].loss_curve, strict=True
    ):
        bound = 1e-4 + rounding(other, operations * step)  # a curve has four decimals
        assert (step, loss) == (other_step, pytest.approx(other, abs=bound, rel=0))


def test_all_processes_agree_on_the_smallest(together: Path) -> None:
    assert [(together / f"agreed-{rank}").read_text() for rank in (0, 1)] == ["5.0", "5.0"]


def test_bfloat16_is_as_composer_computes_it(tmp_path: Path, tokens: Path, tiny: Scale) -> None:
    """Loss in chunks included."""
    amp = replace(tiny, precision="amp_bfloat16", optimizer=replace(
        tiny.optimizer, global_batch=256
    ))  # fmt: skip
    runs = [train(tokens, tmp_path / name, amp, engine=name) for name in ("native", "composer")]
    assert runs[0].weights_sha256 == runs[1].weights_sha256


@pytest.fixture
def on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokens: Path, tiny: Scale
) -> Recorder:
    """A recorder that believes to be on a GPU; states every 50 steps."""
    monkeypatch.setattr(recorder, "gpu_name", lambda: "NVIDIA H100")
    model = OpenLM(tiny.model)
    run = Run(tiny, 1, tokens, read_summary(tokens), tmp_path, {}, 50, DEFAULT, Processes())
    optimizer = build_optimizer(model, tiny.optimizer)
    return Recorder(run, model, optimizer, None, lambda *arguments, **metrics: None)


def test_on_a_gpu_losses_are_read_now_and_then(on_a_gpu: Recorder, tmp_path: Path) -> None:
    for step in range(1, 51):
        on_a_gpu.begin_step()
        on_a_gpu.end_step(torch.tensor(float(step)))
        assert on_a_gpu.step == step
        read = step if step == 50 else step // READ_EVERY * READ_EVERY
        assert on_a_gpu.losses == [float(number) for number in range(1, read + 1)]
    state = load_state(tmp_path, {})
    assert state is not None
    assert (state.step, len(state.losses)) == (50, 50)


def test_on_a_gpu_divergence_comes_late_and_names_its_step(
    on_a_gpu: Recorder, tmp_path: Path
) -> None:
    for loss in [1.0] * 7 + [float("nan")] * (READ_EVERY - 8):
        on_a_gpu.end_step(torch.tensor(loss))
    with pytest.raises(Failure, match="at step 7") as caught:
        on_a_gpu.end_step(torch.tensor(1.0))
    assert caught.value.code == "diverged"
    assert load_state(tmp_path, {}) is None


def test_blocks_compile_as_one_graph_in_both_precisions(tiny: Scale) -> None:
    model = OpenLM(tiny.model)
    for layer in model.layers:
        layer.compile(backend="eager", fullgraph=True)  # raises at the first break
    ids = torch.arange(32)[None]
    model(ids).sum().backward()
    model.tok_embeddings.register_forward_hook(lambda module, inputs, output: output.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        model(ids).sum().backward()
