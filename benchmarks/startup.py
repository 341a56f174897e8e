"""CPU seconds from the start of a `crucible` command to the first thing that it computes.

Everything is made up: a model of random weights, a dataset of random words, a scale that fits them.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from training_recipes.scales import scale_of
from training_recipes.tokenize import tokenize_dataset

WORDS = ["the", "data", "model", "token", "list", "text", "file", "of", "in", "to", "returns"]
SCALE = {
    "version": 1,
    "model": {"dim": 8, "layers": 2, "heads": 2, "seq_len": 32, "vocab": 4096, "qk_norm": True},
    "optimizer": {"lr": 0.03, "weight_decay": 0.033, "warmup": 8, "cooldown": 3e-05, "beta1": 0.9,
                  "beta2": 0.95, "eps": 1e-08, "grad_clip": 1.0, "global_batch": 32,
                  "z_loss": 0.0001},
    "tokens_per_parameter": 1, "multiplier": 1, "checkpoints": 5, "max_epochs": 4,
    "rows_per_shard": 8192, "precision": "fp32", "seed": 124, "tokenizer": "smoke",
    "open_lm": {"model": "tiny", "acc": 1, "fsdp_flags": []},
}  # fmt: skip

# Runs a command line and leaves at the first call of the function in argv[1] ("" for none); with
# a scale in argv[2], every scale asked for by name is this one.
COMMAND = """
import importlib, json, os, sys
place, scale, *arguments = sys.argv[1:]
if scale:
    from training_recipes import dataset_commands, scales, train, train_commands
    made = scales.scale_of("startup", json.loads(scale))
    for module in (dataset_commands, train, train_commands):
        module.load_scale = lambda name: made
if place:
    path, _, name = place.rpartition(".")
    owner = importlib.import_module(path.partition(":")[0])
    for part in path.split(":")[1:]:
        owner = getattr(owner, part)
    setattr(owner, name, lambda *_, **__: os._exit(0))
from submissions.cli import main
sys.exit(main(arguments))
"""


@dataclass(frozen=True)
class Start:
    """A command line, and the function whose first call ends the measurement ("": its end)."""

    arguments: list[str]
    until: str = "its end"
    function: str = ""
    scale: str = ""

    @property
    def shown(self) -> str:
        """The command without its paths."""
        return " ".join(["crucible", *(a for a in self.arguments if not a.startswith("/"))])


def main() -> None:
    """Measures every command and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs: median counts")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder)
        for start in commands(folder):
            seconds = []
            for _ in range(repeat):
                seconds.append(measure(start))
                shutil.rmtree(folder / "out", ignore_errors=True)
            print(f"{statistics.median(seconds):5.2f}  until {start.until}: {start.shown}")


def commands(folder: Path) -> list[Start]:
    """Every command that people wait for; each writes its output to the folder `out`."""
    dataset, output = str(folder / "dataset"), str(folder / "out")
    question = "evaluation.native.scoring:Scorer.score"
    task = "evaluation.llm_foundry:LLMFoundryEngine.evaluate_task"
    loss = "training_recipes.training_rules.training_loss"
    evaluate = ["evaluate", "--suite", "smoke", "--model", f"{folder}/model", "--output", output]
    check = ["check", dataset, "--track", "filtering", "--scale", "smoke"]
    tokenize = ["tokenize", "--scale", "smoke", "--workers", "1", "--input", dataset]
    train = ["train", "--scale", "smoke", "--data", f"{folder}/tokens", "--output", output]
    scan = ["contamination", "scan", "--workers", "1", "--index", f"{folder}/index"]
    scan += ["--input", dataset, "--output", f"{output}/report.json"]
    return [
        Start(["--help"]),
        Start(["recipe", "list"]),
        Start(check),
        Start([*tokenize, "--output", output], scale=json.dumps(SCALE)),
        Start(train, "the first loss", loss, json.dumps(SCALE)),
        Start(evaluate, "the first question", question),
        Start([*evaluate, "--engine", "llm-foundry"], "the first task", task),
        Start(["score", f"{folder}/results/results.json"]),
        Start(scan),
    ]


def make_inputs(folder: Path) -> None:
    """A model, a dataset, its rows, results of an evaluation, and the index of the suite."""
    import torch

    from training_recipes.model import OpenLM
    from training_recipes.model_dir import save_model_dir
    from training_recipes.scales import ModelShape
    from training_recipes.tokenizer import tokenizer_folder

    torch.manual_seed(7)
    shape = ModelShape(dim=32, layers=1, heads=2, seq_len=256, vocab=4096, qk_norm=True)
    save_model_dir(folder / "model", OpenLM(shape), tokenizer_folder("smoke"))
    draw = random.Random(1)
    texts = [" ".join(draw.choices(WORDS, k=60)) for _ in range(1600)]
    (folder / "dataset").mkdir()
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "dataset" / "texts.jsonl").write_text(lines)
    tokenize_dataset([folder / "dataset"], folder / "tokens", scale_of("startup", SCALE))
    evaluate = ["evaluate", "--suite", "smoke", "--limit", "2", "--model", f"{folder}/model"]
    measure(Start([*evaluate, "--output", f"{folder}/results"]))
    measure(Start(["contamination", "index", "--suite", "smoke", "--output", f"{folder}/index"]))


def measure(start: Start) -> float:
    """CPU seconds of a process and its children, in user and in system mode."""
    command = [sys.executable, "-c", COMMAND, start.function, start.scale, *start.arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1) or "Traceback" in said:  # `check` finds the dataset small
        raise SystemExit(f"{start.shown} failed:\n{said}")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
