"""DCLM's command line for every scale, and the engine around open_lm, played by a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from submissions.failures import Failure
from training_recipes.engines import open_lm_engine
from training_recipes.engines.open_lm_command import (
    Launch,
    model_json,
    open_lm_arguments,
    runs_out,
)
from training_recipes.engines.open_lm_engine import Log
from training_recipes.hardware import Hardware
from training_recipes.model import OpenLM
from training_recipes.model_dir import load_model_dir, weights_sha256
from training_recipes.scales import Scale, load_scale
from training_recipes.train import train

AMP = ["--fsdp", "--fsdp-amp", "--fsdp-limit-all-gathers"]
AMP_ORIG = [*AMP, "--fsdp-use-orig-params"]
PURE = ["--fsdp", "--fsdp-limit-all-gathers", "--fsdp-pure-bf16", "--fsdp-use-orig-params"]
# DCLM's published numbers: batch, lr, warm-up, weight decay, parts of a batch, tokens of a
# checkpoint (a fifth of the budget), FSDP, z-loss, and the model's configuration.
FACTS: dict[str, tuple[Any, ...]] = {
    "400m-1x": (512, "0.003", 2000, "0.033", 8, 8_232_325_120 // 5, AMP, "0.0001",
                "d=1024_l=24_h=8", (1024, 24, 8)),
    "1b-1x": (256, "0.003", 5000, "0.033", 1, 28_795_904_000 // 5, AMP_ORIG, "0.0001",
              "open_lm_1b_swiglutorch", (2048, 24, 16)),
    "1b-5x": (256, "0.003", 5000, "0.033", 1, 143_979_520_000 // 5, AMP_ORIG, "0.0001",
              "open_lm_1b_swiglutorch", (2048, 24, 16)),
    "3b-1x": (256, "0.003", 5000, "0.033", 1, 55_918_643_200 // 5, PURE, "0.0001",
              "open_lm_3b_swiglutorch", (2560, 32, 32)),
    "7b-1x": (2048, "0.002", 5000, "0.05", 2, 137_788_211_200 // 5, PURE, "5e-06",
              "open_lm_7b_swiglutorch", (4096, 32, 32)),
    "7b-2x": (2048, "0.002", 5000, "0.05", 2, 275_576_422_400 // 5, PURE, "5e-06",
              "open_lm_7b_swiglutorch", (4096, 32, 32)),
}  # fmt: skip
LAUNCH = Launch(Path("m.json"), Path("rows/manifest.jsonl"), Path("logs"), "run", 124, world_size=8)


@pytest.mark.parametrize("name", FACTS)
def test_the_command_line_is_dclms(name: str) -> None:
    batch, rate, warmup, decay, parts, tokens, fsdp, z_loss, model, shape = FACTS[name]
    scale = load_scale(name)
    assert open_lm_arguments(scale, LAUNCH) == [
        "--workers", "2", "--precision", "amp_bfloat16", "--global-batch-size", f"{batch}",
        "--log-every-n-steps", "20", "--grad-clip-norm", "1", "--lr", rate,
        "--warmup", f"{warmup}", "--model", "m.json", "--wd", decay, "--beta2", "0.95",
        "--epochs", "5", "--resume", "latest", "--seed", "124", "--accum-freq", f"{parts}",
        "--model-norm", "gain_only_lp_layer_norm", "--delete-previous-checkpoint",
        "--lr-cooldown-end", "3e-05", "--logs", "logs", "--attn-name", "torch_attn",
        "--log-logit-mean", "--data-tolerate-error-p", "0.09", "--data-tolerate-num-ckpts", "0",
        "--train-num-samples", f"{tokens}", "--dataset-manifest", "rows/manifest.jsonl",
        "--data-key", "json.gz", "--name", "run", *fsdp, "--qk-norm", "--z-loss", z_loss,
    ]  # fmt: skip
    dim, layers, heads = shape
    expected = {"hidden_dim": dim, "n_layers": layers, "n_heads": heads, "seq_len": 2048,
                "vocab_size": 50432, "post_embed_norm": False, "weight_tying": False}  # fmt: skip
    if name != "400m-1x":
        expected["ffn_type"] = "swiglu_torch"
    assert model_json(scale.model) == expected
    assert scale.open_lm.model == model


def test_what_may_differ_from_dclms_command_line() -> None:
    scale = load_scale("400m-1x")
    plain = open_lm_arguments(scale, LAUNCH)
    alone = open_lm_arguments(scale, replace(LAUNCH, world_size=1))
    assert alone == [a for a in plain if not a.startswith("--fsdp")]
    passes = open_lm_arguments(scale, replace(LAUNCH, many_passes=True))
    place = passes.index("--multiple-data-passes")
    assert passes[place - 1 : place + 2 : 2] == ["0", "--train-num-samples"]
    compiled = open_lm_arguments(scale, replace(LAUNCH, hardware=Hardware(16, compile=True)))
    assert compiled[-1] == "--torchcompile"
    assert compiled[compiled.index("--accum-freq") + 1] == "4"  # of 64 rows
    with pytest.raises(Failure, match="cannot be taken in 8 parts") as caught:
        open_lm_arguments(scale, replace(LAUNCH, world_size=128))
    assert caught.value.code == "hardware_unfit"


def test_when_open_lm_runs_out_of_shards() -> None:
    """At 400M a checkpoint needs 803,938 rows: 99 shards of 8,192, cut to 98 for 2 workers.

    Five of these fall short of the 7,850 steps, and a sixth asks for 99 shards again.
    """
    scale = load_scale("400m-1x")
    assert runs_out([8192] * (5 * 98 + 98), scale, 124, 1)
    assert not runs_out([8192] * (5 * 98 + 99), scale, 124, 1)
    assert runs_out([8192] * (5 * 96 + 98), scale, 124, 8)  # 16 workers: cut to 96
    assert not runs_out([8192] * (5 * 96 + 99), scale, 124, 8)
    with pytest.raises(Failure, match="each of its 16 data workers: there are 15") as caught:
        runs_out([60_000] * 15, scale, 124, 8)
    assert caught.value.code == "dataset_too_small"


def line(epoch: int, rows: int, loss: float, seconds: float = 0.5) -> str:
    return (
        f"2026-01-01,00:00:00 | INFO | Train Epoch: {epoch} [{rows:>5}/1280 (9%)] Loss: {loss:.3f} "
        f"Data (t): 0.001 Batch (t): {seconds:.3f}, 2048.00/s, 2048.00/s/gpu LR: 0.003000 "
    )


def test_the_log_gives_a_loss_for_every_step() -> None:
    log = Log(steps=50, global_batch=32)
    for number, steps in ((1, 30), (2, 50)):
        assert not log.read(f"INFO | ==> Checkpoint {number}, steps {steps}, tokens seen 1")
    assert log.read(line(0, 32, 8.0))
    assert log.read(line(0, 21 * 32, 6.0))
    assert log.losses == [8.0] + [6.0] * 20
    log.read(line(0, 30 * 32, 5.0))
    log.read(line(1, 32, 4.0, seconds=0.25))
    log.read(line(1, 19 * 32, 3.5))
    assert log.losses == [8.0] + [6.0] * 20 + [5.0] * 9 + [4.0] + [3.5] * 18
    log.read(line(1, 32, 4.5, seconds=0.25))  # killed, and gone on from its last checkpoint
    assert log.losses[29:] == [5.0, 4.5]
    assert log.steps_per_second == 4.0
    assert log.all_losses()[30:] == [4.5] * 20
    with pytest.raises(Failure, match="no longer a number at step 48") as caught:
        log.read(line(1, 19 * 32, float("nan")))
    assert caught.value.code == "diverged"


# Takes open_lm's place: reads its arguments, writes a log and checkpoints as it does.
STAND_IN = """
import json, os, sys
from pathlib import Path
import torch
from training_recipes.model import OpenLM
from submissions.codec import convert
from training_recipes.model_dir import shape_of_params
from training_recipes.open_lm_params import Params

arguments = dict(zip(sys.argv[1:], sys.argv[2:]))
params = json.loads(Path(arguments["--model"]).read_text())
params |= {"qk_norm": "--qk-norm" in sys.argv}
folder = Path(arguments["--logs"]) / arguments["--name"] / "checkpoints"
folder.mkdir(parents=True, exist_ok=True)
epochs, log = int(arguments["--epochs"]), (folder.parent / "out.log").open("a")
start = max((int(p.stem[6:]) for p in folder.glob("epoch_*.pt")), default=0)
assert ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" in os.environ) == (start > 0)
def say(line):
    print(line, flush=True)
    print(line, file=log, flush=True)

torch.manual_seed(int(arguments["--seed"]))
model = OpenLM(shape_of_params(convert(Params, params, code="model_invalid", where="it")))
for epoch in range(epochs):
    say(f"INFO | ==> Checkpoint {epoch + 1}, steps {min(16 * (epoch + 1), 76)}, tokens seen 1")
for epoch in range(start, epochs):
    for step in (1, 12 if epoch + 1 == epochs else 16):
        loss = os.environ.get("LOSS", f"{9 - epoch}.000")
        say(f"INFO | Train Epoch: {epoch} [{32 * step:>4}/512 (3%)] Loss: {loss} Data (t): 0.001 "
            "Batch (t): 0.020, 51200.0/s, 51200.0/s/gpu LR: 0.003000 ")
        if loss == "nan":
            sys.exit("Training exiting due to NaN value")
    weights = {f"module.{name}": value for name, value in model.state_dict().items()}
    number = epoch + 1
    torch.save({"epoch": number, "state_dict": weights}, folder / f"epoch_{number}.pt")
    if os.environ.get("DIE") == str(number):
        sys.exit("No space left on device")
    torch.save({"optimizer": {}}, folder / f"optimizer_{number}.pt")
    stats = {"is_final_checkpoint": number == epochs, "evaluation_metrics": []}
    torch.save(stats, folder / f"stats_{number}.pt")
    for kind in ("epoch", "optimizer", "stats"):
        (folder / f"{kind}_{number - 1}.pt").unlink(missing_ok=True)
"""


@pytest.fixture
def open_lm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the stand-in, here and for the processes that we start."""
    package = tmp_path / "site" / "open_lm"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "main.py").write_text(STAND_IN)
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), root]))
    monkeypatch.syspath_prepend(str(package.parent))


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory, dataset: Path, tiny: Scale) -> Path:
    """The tokenised dataset in shards enough for open_lm's workers."""
    from training_recipes.tokenize import tokenize_dataset

    output = tmp_path_factory.mktemp("shards") / "tokens"
    tokenize_dataset([dataset], output, replace(tiny, rows_per_shard=512))
    return output


def test_a_run_of_open_lm_becomes_a_model_directory(
    open_lm: None, tmp_path: Path, shards: Path, tiny: Scale
) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    figures = train(
        shards, tmp_path / "model", tiny, engine="open_lm",
        progress=lambda step, of, unit, message="", **metrics: told.append((step, metrics)),
    )  # fmt: skip
    assert [step for step, _ in told] == [1, 16, 17, 32, 33, 48, 49, 64, 65, 76]
    assert told[0][1] == {"loss": 9.0, "eta_seconds": 1.5, "tokens_per_second": 51200.0}
    assert figures.loss_curve[0] == (1, 9.0)
    assert figures.loss_curve[-1] == (76, 5.0)
    assert figures.engine == "open_lm"
    torch.manual_seed(tiny.seed)
    assert weights_sha256(load_model_dir(tmp_path / "model")) == weights_sha256(OpenLM(tiny.model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "site"]
    assert train(shards, tmp_path / "model", tiny, engine="open_lm", resume=True) == figures


def test_an_interrupted_run_of_open_lm_goes_on_from_its_last_whole_checkpoint(
    open_lm: None, tmp_path: Path, shards: Path, tiny: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "model"
    monkeypatch.setenv("DIE", "3")  # after the weights of the third checkpoint, before its rest
    with pytest.raises(Failure, match="No space left on device") as caught:
        train(shards, output, tiny, engine="open_lm")
    assert caught.value.code == "internal_error"
    monkeypatch.delenv("DIE")
    with pytest.raises(Failure, match="another unfinished run") as caught:
        train(shards, output, tiny, seed=5, engine="open_lm", resume=True)
    assert caught.value.code == "output_exists"
    seen: list[int] = []
    figures = train(
        shards, output, tiny, engine="open_lm", resume=True,
        progress=lambda step, of, unit, message="", **metrics: seen.append(step),
    )  # fmt: skip
    assert seen == [33, 48, 49, 64, 65, 76]
    assert [loss for _, loss in figures.loss_curve[15:34]] == [9.0] + [8.0] * 16 + [7.0] * 2


def test_a_run_of_open_lm_that_diverges_or_lacks_something(
    open_lm: None, tmp_path: Path, shards: Path, tiny: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSS", "nan")
    with pytest.raises(Failure, match="no longer a number at step 0") as caught:
        train(shards, tmp_path / "diverged", tiny, engine="open_lm")
    assert caught.value.code == "diverged"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Failure, match="on GPUs only") as caught:
        train(shards, tmp_path / "two", tiny, engine="open_lm")
    assert caught.value.code == "hardware_unfit"


def test_without_open_lm_the_failure_says_how_to_install_it(
    tmp_path: Path, tokens: Path, tiny: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_lm_engine, "find_spec", lambda name: None)
    with pytest.raises(Failure, match="pip install") as caught:
        train(tokens, tmp_path / "model", tiny, engine="open_lm")
    assert caught.value.code == "missing_dependency"


def test_open_lm_does_not_outlive_us(open_lm: None, tmp_path: Path) -> None:
    """A process that dies by SIGKILL takes its child along, or two would write one folder."""
    code = (
        "import subprocess, sys\n"
        "from training_recipes.engines.open_lm_engine import _die_with_parent\n"
        "child = subprocess.Popen(['sleep', '60'], preexec_fn=_die_with_parent)\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    for _ in range(100):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            break
        signal.sigtimedwait([], 0.05)
    else:
        pytest.fail("the child lives on")
