"""A scale that trains in seconds, a dataset for it, and one uninterrupted run of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training_recipes.packed_rows import Summary
from training_recipes.results import TrainResult
from training_recipes.scales import Scale, scale_of
from training_recipes.tokenize import tokenize_dataset
from training_recipes.train import train
from training_recipes.training_rows import Part, read_batches

WORDS = ["the", "a", "data", "model", "token", "list", "text", "file", "of", "in", "to", "is",
         "and", "returns", "value", "name"]  # fmt: skip


@pytest.fixture(scope="session")
def tiny_content() -> dict[str, Any]:
    """What a scale file holds, here of 76 steps of 32 rows with 33 ids."""
    return {
        "version": 1,
        "model": {"dim": 8, "layers": 2, "heads": 2, "seq_len": 32, "vocab": 4096,
                  "qk_norm": True},
        "optimizer": {"lr": 0.03, "weight_decay": 0.033, "warmup": 8, "cooldown": 3e-05,
                      "beta1": 0.9, "beta2": 0.95, "eps": 1e-08, "grad_clip": 1.0,
                      "global_batch": 32, "z_loss": 0.0001},
        "tokens_per_parameter": 1, "multiplier": 1, "checkpoints": 5, "max_epochs": 4,
        "rows_per_shard": 8192, "precision": "fp32", "seed": 124, "tokenizer": "smoke",
        "open_lm": {"model": "tiny", "acc": 1, "fsdp_flags": []},
    }  # fmt: skip


@pytest.fixture(scope="session")
def tiny(tiny_content: dict[str, Any]) -> Scale:
    return scale_of("tiny", tiny_content)


@pytest.fixture(scope="session")
def brief(tiny: Scale) -> Scale:
    """17 steps over the same rows, for what a longer run would not show better.

    Not for comparing losses: a layer norm of two numbers gives their order, which rounding changes.
    """
    return replace(tiny, model=replace(tiny.model, dim=2, heads=1, layers=1))


@pytest.fixture(scope="session")
def write_shard() -> Callable[[Path, list[str]], Path]:
    """Writes a JSON-lines shard with these texts."""

    def write(path: Path, texts: list[str]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return path

    return write


@pytest.fixture(scope="session")
def some_texts() -> Callable[[int, int], list[str]]:
    """`count` texts of 40 to 80 words, each word one or two tokens."""

    def make(count: int, seed: int = 0) -> list[str]:
        draw = random.Random(seed)
        return [" ".join(draw.choices(WORDS, k=draw.randint(40, 80))) for _ in range(count)]

    return make


@pytest.fixture(scope="session")
def dataset(
    tmp_path_factory: pytest.TempPathFactory,
    write_shard: Callable[[Path, list[str]], Path],
    some_texts: Callable[[int, int], list[str]],
) -> Path:
    """A folder of two shards with tokens enough for the tiny scale."""
    folder = tmp_path_factory.mktemp("dataset")
    write_shard(folder / "one.jsonl", some_texts(800, 1))
    write_shard(folder / "two.jsonl", some_texts(800, 2))
    return folder


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory, dataset: Path, tiny: Scale) -> Path:
    """The dataset, tokenised for the tiny scale."""
    output = tmp_path_factory.mktemp("tokens") / "tokens"
    tokenize_dataset([dataset], output, tiny)
    return output


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tokens: Path, tiny: Scale
) -> tuple[Path, TrainResult]:
    """An uninterrupted run of the tiny scale: its model directory and its figures."""
    output = tmp_path_factory.mktemp("trained") / "model"
    figures = train(tokens, output, tiny)
    assert figures is not None
    return output, figures


def rows_in_order(tokens: Path, summary: Summary, vocab: int = 1 << 16) -> list[Any]:
    """One pass over all rows of a folder in the manifest's order, each [seq_len + 1]."""
    part = Part(seed=0, vocab=vocab, batch=1, batches=summary.sequences)
    return [rows[0] for rows in read_batches(tokens, summary, part)]
