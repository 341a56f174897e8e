"""The model directory: params.json, checkpoint.pt and tokenizer/, in open_lm's keys and names."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch
from msgspec import UNSET

from submissions.codec import read
from submissions.failures import Failure
from submissions.job import write_json_atomically
from training_recipes import open_lm_params
from training_recipes.model import OpenLM, without_weights
from training_recipes.open_lm_params import Params, params_of_shape
from training_recipes.scales import ModelShape
from training_recipes.tensor_files import save_tensors
from training_recipes.tokenizer import tokenizer_files

PARAMS, CHECKPOINT, TOKENIZER = "params.json", "checkpoint.pt", "tokenizer"
PREFIXES = ("module.", "_orig_mod.")  # left in key names by DDP and torch.compile
# What params.json may hold and we can build; anything else is another architecture.
SUPPORTED: dict[str, set[Any]] = {
    "model_norm": {"gain_only_lp_layer_norm"},
    "ffn_type": {"swiglu_torch", "swiglu"},  # the same function, packed or not
    "positional_embedding_type": {"rotary"},
    "post_embed_norm": {False},
    "weight_tying": {False},
}


def save_model_dir(directory: Path, model: OpenLM, tokenizer: Path) -> None:
    """Writes a model directory; `tokenizer` is a folder of Hugging Face fast tokenizer files."""
    (directory / TOKENIZER).mkdir(parents=True, exist_ok=True)
    for path in tokenizer_files(tokenizer):
        shutil.copyfile(path, directory / TOKENIZER / path.name)
    # open_lm's loader takes a file without `epoch` for a bare state dict, and then fails.
    save_tensors(directory / CHECKPOINT, {"epoch": 1, "state_dict": model.state_dict()})
    write_json_atomically(directory / PARAMS, params_of_shape(model.shape))


def weights_sha256(model: OpenLM) -> str:
    """Hash of the names and values of all weights: equal for equal models, whatever wrote them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_model_dir(directory: Path, mapped: bool = False) -> OpenLM:
    """The model of a model directory, in evaluation mode, without gradients, on the CPU.

    With `mapped` the weights stay in the file until they are read, and leave memory as easily.

    Raises `model_invalid` when a file is missing or unreadable, when params.json describes another
    architecture, or when the weights do not have its names and shapes.
    """
    shape = shape_of_params(read_params(directory))
    model = without_weights(shape)
    try:
        model.load_state_dict(read_state_dict(directory / CHECKPOINT, mapped), assign=True)
    except RuntimeError as error:
        raise Failure(
            "model_invalid",
            f"the weights in {directory / CHECKPOINT} do not fit {PARAMS}: {str(error)[:500]}",
        ) from None
    return model.eval().requires_grad_(False)


def read_params(directory: Path) -> Params:
    """The content of params.json, or what open_lm's params.txt says where only that is there."""
    if not (directory / PARAMS).exists() and (directory / open_lm_params.FILE).is_file():
        return open_lm_params.params_of_run(directory / open_lm_params.FILE)
    return read(Params, directory / PARAMS, code="model_invalid", where=str(directory / PARAMS))


def shape_of_params(params: Params) -> ModelShape:
    """The shape that open_lm's model JSON describes; `model_invalid` for what we cannot build."""
    for key, allowed in SUPPORTED.items():
        value = getattr(params, key)
        if value is not UNSET and value not in allowed:
            raise Failure("model_invalid", f"{PARAMS} says {key} = {value!r}: not supported")
    return ModelShape(
        dim=params.hidden_dim,
        layers=params.n_layers,
        heads=params.n_heads,
        seq_len=params.seq_len,
        vocab=params.vocab_size,
        qk_norm=params.qk_norm,
        ffn_type=params.ffn_type,
    )


def read_state_dict(path: Path, mapped: bool = False) -> dict[str, torch.Tensor]:
    """Weights by open_lm's names, from {"state_dict": …} or a bare state dict.

    Loaded with weights_only: a checkpoint is untrusted and must not run code.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        weights = content.get("state_dict", content)
        return {_without_prefixes(name): tensor for name, tensor in weights.items()}
    except Exception as error:  # damaged bytes can raise any error in torch.load
        raise Failure(
            "model_invalid", f"cannot read weights from {path}: {str(error)[:300]}"
        ) from None


def _without_prefixes(name: str) -> str:
    for prefix in PREFIXES:
        name = name.replace(prefix, "")
    return name
