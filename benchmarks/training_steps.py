"""The first steps of a training, by our engine and by the real open_lm: losses and times.

For loss_parity.py and training.py. Needs open_lm (commit 9bb92ef) on PYTHONPATH with what it
imports: webdataset 0.2.86, braceexpand, pandas. CPU, one thread.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import random
import shutil
import time
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from open_lm_parity import stub_xformers_if_missing

from training_recipes.engines.composer_engine import train_with_composer
from training_recipes.engines.open_lm_command import Launch, model_json, open_lm_arguments
from training_recipes.engines.run import Run
from training_recipes.hardware import DEFAULT, Processes
from training_recipes.packed_rows import MANIFEST, Summary, read_summary
from training_recipes.run_state import load_state
from training_recipes.scales import Scale
from training_recipes.tokenize import tokenize_dataset

WORDS = 3_000


class Enough(Exception):
    """Ends an engine after the steps that were asked for."""


@dataclass
class Steps:
    """The loss of every step, and when it was done."""

    losses: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def seconds(self, first: int) -> float:
        """The median step from number `first` on."""
        return float(np.median(np.diff(self.ends[first:])))


def make_up_rows(folder: Path, scale: Scale) -> Path:
    """A tokenised dataset of made-up text, whose words are as unequal as those of a language."""
    draw = random.Random(7)
    letters = "etaoinshrdlu"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(WORDS)]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    text = folder / "text"
    text.mkdir()
    with (text / "made-up.jsonl").open("w") as file:
        for _ in range(scale.tokens_needed // 250):  # a word is two tokens or three
            line = " ".join(draw.choices(words, weights, k=120))
            file.write(json.dumps({"text": line}) + "\n")
    tokenize_dataset([text], folder / "tokens", scale)
    return folder / "tokens"


def composer_steps(tokens: Path, scale: Scale, steps: int, work: Path) -> Steps:
    """By our engine `composer`."""
    result = Steps()

    def progress(step: int, *_said: object, **_metrics: float) -> None:
        result.ends.append(time.perf_counter())
        if step == steps:
            raise Enough

    work.mkdir()
    summary = read_summary(tokens)
    run = Run(scale, scale.seed, tokens, summary, work, {}, steps, DEFAULT, Processes())
    try:
        train_with_composer(run, progress)
    except Enough:
        state = load_state(work, {})
        assert state is not None
        result.losses = state.losses
    return result


def open_lm_steps(tokens: Path, scale: Scale, steps: int, work: Path) -> Steps:
    """By the real open_lm, run unchanged: its TensorBoard writer is ours and hears every loss."""
    result = Steps()

    class Writer:
        def __init__(self, path: str) -> None:
            self.path = path

        def add_scalar(self, name: str, value: float, step: int) -> None:
            if name != "train/loss":
                return
            result.losses.append(value)
            result.ends.append(time.perf_counter())
            if step == steps:
                raise Enough

    stub_xformers_if_missing()
    main: Any = importlib.import_module("open_lm.main")
    main.tensorboard = types.SimpleNamespace(SummaryWriter=Writer)
    with contextlib.suppress(Enough):
        main.main([*_arguments(tokens, scale, work), "--report-to", "tensorboard"])
    return result


def _arguments(tokens: Path, scale: Scale, work: Path) -> list[str]:
    """DCLM's command line, but with one data worker and a loss for every step."""
    rows = work / "rows"
    rows.mkdir(parents=True)
    _reorder(tokens, read_summary(tokens), rows, scale.seed)
    model = work / f"{scale.open_lm.model}.json"
    model.write_text(json.dumps(model_json(scale.model)))
    launch = Launch(model, rows / MANIFEST, work, scale.name, scale.seed)
    arguments = open_lm_arguments(scale, launch)
    for option, value in (("--workers", "1"), ("--log-every-n-steps", "1")):
        arguments[arguments.index(option) + 1] = value
    return arguments


def _reorder(tokens: Path, summary: Summary, rows: Path, seed: int) -> None:
    """The same shards with a manifest that open_lm's shuffle turns into our order."""
    lines = (tokens / MANIFEST).read_text().splitlines(keepends=True)
    shuffled = np.arange(len(lines))
    np.random.default_rng(seed).shuffle(shuffled)
    manifest = [""] * len(lines)
    for place, source in enumerate(shuffled):
        manifest[source] = lines[place]
    (rows / MANIFEST).write_text("".join(manifest))
    for shard in summary.shards:
        shutil.copyfile(tokens / shard.name, rows / shard.name)
