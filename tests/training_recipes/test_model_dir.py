"""The model directory: what is written, what is accepted from others, and what is not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from submissions.failures import Failure
from submissions.hashing import folder_sha256
from training_recipes.model_dir import (
    load_model_dir,
    read_params,
    read_state_dict,
    shape_of_params,
    weights_sha256,
)
from training_recipes.open_lm_params import params_of_shape
from training_recipes.scales import load_scale
from training_recipes.tokenizer import tokenizer_sha256


@pytest.fixture
def model(tmp_path: Path, trained: tuple[Path, dict[str, Any]]) -> Path:
    shutil.copytree(trained[0], tmp_path / "model")
    return tmp_path / "model"


def refusal(model: Path) -> str:
    with pytest.raises(Failure) as caught:
        load_model_dir(model)
    assert caught.value.code == "model_invalid"
    return caught.value.message


def test_params_are_in_open_lms_keys(model: Path) -> None:
    assert json.loads((model / "params.json").read_text()) == {
        "hidden_dim": 8, "n_layers": 2, "n_heads": 2, "seq_len": 32, "vocab_size": 4096,
        "post_embed_norm": False, "weight_tying": False, "model_norm": "gain_only_lp_layer_norm",
        "qk_norm": True, "ffn_type": "swiglu_torch", "positional_embedding_type": "rotary",
    }  # fmt: skip


def test_the_tokenizer_is_the_recipes(model: Path) -> None:
    assert folder_sha256(model / "tokenizer") == tokenizer_sha256("smoke")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("bare", [True, False])
def test_prefixes_and_bare_state_dicts_are_tolerated(model: Path, prefix: str, bare: bool) -> None:
    before = weights_sha256(load_model_dir(model))
    weights = read_state_dict(model / "checkpoint.pt")
    named: dict[str, Any] = {prefix + name: tensor for name, tensor in weights.items()}
    torch.save(named if bare else {"epoch": 5, "state_dict": named}, model / "checkpoint.pt")
    assert weights_sha256(load_model_dir(model)) == before


def test_open_lm_takes_it_for_a_checkpoint(model: Path) -> None:
    """Its loader looks for `epoch` beside `state_dict`: benchmarks/open_lm_parity.py runs it."""
    assert set(torch.load(model / "checkpoint.pt", weights_only=True)) == {"epoch", "state_dict"}


def test_a_loaded_model_is_ready_to_evaluate(model: Path) -> None:
    loaded = load_model_dir(model)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded(torch.zeros(1, 3, dtype=torch.long)).shape == (1, 3, 4096)


class Payload:
    """Unpickled by a careless reader, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_checkpoint_that_would_run_code_is_refused(model: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": Payload(tmp_path / "ran")}, model / "checkpoint.pt")
    assert "cannot read weights" in refusal(model)
    assert not (tmp_path / "ran").exists()


def test_damage_is_named(model: Path) -> None:
    weights = read_state_dict(model / "checkpoint.pt")
    del weights["norm.weight"]
    torch.save({"state_dict": weights}, model / "checkpoint.pt")
    assert "norm.weight" in refusal(model)
    (model / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut")
    assert "checkpoint.pt" in refusal(model)
    (model / "params.json").unlink()
    assert "params.json" in refusal(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_norm", "rms_norm"),
        ("ffn_type", "gelu"),
        ("weight_tying", True),
        ("weight_tying", []),
        ("model_norm", {"a": 1}),
        ("n_heads", 0),
        ("hidden_dim", "64"),
    ],
)
def test_another_architecture_is_refused(model: Path, key: str, value: object) -> None:
    params = json.loads((model / "params.json").read_text())
    (model / "params.json").write_text(json.dumps(params | {key: value}))
    assert key in refusal(model)


def test_params_without_a_size_are_refused(model: Path) -> None:
    params = json.loads((model / "params.json").read_text())
    del params["n_heads"]
    (model / "params.json").write_text(json.dumps(params))
    assert "n_heads" in refusal(model)


@pytest.mark.parametrize("ffn_type", ["swiglu", "swiglu_torch"])
def test_both_names_of_the_feed_forward_part_are_kept(model: Path, ffn_type: str) -> None:
    params = json.loads((model / "params.json").read_text())
    (model / "params.json").write_text(json.dumps(params | {"ffn_type": ffn_type}))
    loaded = load_model_dir(model)
    assert (loaded.shape.ffn_type, params_of_shape(loaded.shape).ffn_type) == (ffn_type,) * 2


RUN = """attn_name: torch_attn
ffn_type: swiglu
model: training/open_lm_configs/d=1024_l=24_h=8.json
model_norm: gain_only_lp_layer_norm
name: a: b
positional_embedding_type: rotary
qk_norm: True
seed: 124
"""


def test_the_arguments_of_an_open_lm_run_say_its_shape(tmp_path: Path) -> None:
    (tmp_path / "params.txt").write_text(RUN)
    assert shape_of_params(read_params(tmp_path)) == load_scale("400m-1x").model
    (tmp_path / "params.txt").write_text(RUN.replace("qk_norm: True", "qk_norm: False"))
    assert not shape_of_params(read_params(tmp_path)).qk_norm


@pytest.mark.parametrize(
    ("line", "other"),
    [("d=1024_l=24_h=8", "open_lm_160m"), ("gain_only_lp_layer_norm", "rms_norm"),
     ("rotary", "llama_rotary"), (RUN, "")],
)  # fmt: skip
def test_the_arguments_of_another_run_are_refused(tmp_path: Path, line: str, other: str) -> None:
    (tmp_path / "params.txt").write_text(RUN.replace(line, other))
    with pytest.raises(Failure) as caught:
        shape_of_params(read_params(tmp_path))
    assert caught.value.code == "model_invalid"
