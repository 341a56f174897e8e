"""A model directory with random weights, small enough to be evaluated in a test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer of width 32 with the bundled tokenizer; the same weights every time."""
    import torch

    from training_recipes.model import OpenLM
    from training_recipes.model_dir import save_model_dir
    from training_recipes.scales import ModelShape
    from training_recipes.tokenizer import tokenizer_folder

    torch.manual_seed(7)
    shape = ModelShape(dim=32, layers=1, heads=2, seq_len=256, vocab=4096, qk_norm=True)
    folder = tmp_path_factory.mktemp("model")
    save_model_dir(folder, OpenLM(shape), tokenizer_folder("smoke"))
    return folder
