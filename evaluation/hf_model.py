"""Any causal language model that transformers itself knows, out of a Hugging Face directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from transformers import AutoModelForCausalLM
from transformers.generation.configuration_utils import GenerationConfig
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.tokenization_auto import AutoTokenizer

from evaluation.hf_folder import view_of_model, view_of_tokenizer, weight_files
from submissions.failures import Failure
from training_recipes.scales import ModelShape

# A model may have more parameters than its files (tied ones are counted twice), but not many; and
# buffers, such as masks and tables of angles, are made from numbers alone.
TIMES, SPARE_TENSORS, SPARE_VALUES = 2, 1000, 10**6
MOST_BUFFER_VALUES = 2 * 10**9
FRESH = 10  # names of missing weights that a sentence holds at most
NO_LIMIT = 2**30  # tokens, of a model without a table of positions


@dataclass(frozen=True)
class HuggingFaceModel:
    """A model on the CPU, in evaluation mode, without gradients.

    `shape` has its numbers as far as the work is estimated by them; `seq_len` of it is the most
    tokens that the model reads, `vocab` the number of rows of its embedding.
    """

    model: Any
    shape: ModelShape


def load_hugging_face(folder: Path) -> HuggingFaceModel:
    """The model in `folder` with weights in float32.

    Only safetensors are read, no code is run and nothing is fetched. Raises `model_invalid` for
    files that cannot be read, for an architecture that transformers does not know, and for weights
    that do not fit config.json.
    """
    with view_of_model(folder) as view:
        limit = _size_of(weight_files(folder))
        try:
            config = AutoConfig.from_pretrained(view, trust_remote_code=False)
            if config.is_encoder_decoder:
                raise Failure("model_invalid", f"{folder} holds no causal language model")
            with torch.device("meta"), _at_most(limit, folder):
                AutoModelForCausalLM.from_config(config, trust_remote_code=False)
            model, report = AutoModelForCausalLM.from_pretrained(
                view, config=config, trust_remote_code=False, use_safetensors=True,
                local_files_only=True, torch_dtype=torch.float32, output_loading_info=True,
            )  # fmt: skip
        except Failure:
            raise
        except Exception as error:  # config.json and weights may make any error in the library
            raise _unreadable(folder, error) from None
    fresh = sorted(report["missing_keys"]) + [str(one[0]) for one in report["mismatched_keys"]]
    if fresh:
        names = ", ".join(fresh[:FRESH])
        raise Failure("model_invalid", f"the weights in {folder} lack {names[:500]}")
    # Greedy, as DCLM evaluates: the model's own settings may ask for sampling or penalties.
    model.generation_config = GenerationConfig(do_sample=False)  # type: ignore[no-untyped-call]
    return HuggingFaceModel(model.eval().requires_grad_(False), _shape_of(model))


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a Hugging Face directory; `model_invalid` when it is unreadable."""
    with view_of_tokenizer(folder) as view:
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                view, trust_remote_code=False, use_fast=True, local_files_only=True
            )
        except Exception as error:  # a damaged file can raise any error in the library
            raise Failure(
                "model_invalid", f"cannot read the tokenizer in {folder}: {str(error)[:300]}"
            ) from None
    if not tokenizer.is_fast:
        raise Failure("model_invalid", f"{folder} has no fast tokenizer")
    return tokenizer


def _shape_of(model: Any) -> ModelShape:
    """The numbers that every causal model has, under the names that transformers gives them."""
    config = model.config.get_text_config()
    dim = int(getattr(config, "hidden_size", 1))
    return ModelShape(
        dim=dim,
        layers=int(getattr(config, "num_hidden_layers", 1)),
        heads=int(getattr(config, "num_attention_heads", 1)),
        seq_len=int(getattr(config, "max_position_embeddings", None) or NO_LIMIT),
        vocab=int(model.get_input_embeddings().weight.shape[0]),
        qk_norm=False,
    )


def _size_of(files: list[Path]) -> tuple[int, int]:
    """Tensors and values in safetensors files, by their headers."""
    tensors = values = 0
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no dictionary
                    count = 1
                    for length in file.get_slice(name).get_shape():
                        count *= length
                    tensors, values = tensors + 1, values + count
        except (OSError, SafetensorError, ValueError) as error:
            raise Failure("model_invalid", f"cannot read {path}: {str(error)[:300]}") from None
    return tensors, values


@contextmanager
def _at_most(limit: tuple[int, int], folder: Path) -> Iterator[None]:
    """Ends the making of a model, on no device, that is much larger than its weights."""
    found = {"tensors": 0, "values": 0, "buffers": 0}

    def parameter(_module: nn.Module, _name: str, value: Any) -> None:
        found["tensors"] += 1
        found["values"] += value.numel() if value is not None else 0
        if (
            found["tensors"] > TIMES * limit[0] + SPARE_TENSORS
            or found["values"] > TIMES * limit[1] + SPARE_VALUES
        ):
            raise Failure(
                "model_invalid",
                f"config.json in {folder} describes a larger model than the {limit[0]:,} tensors "
                f"of {limit[1]:,} values beside it",
            )

    def buffer(_module: nn.Module, name: str, value: Any) -> None:
        found["buffers"] += value.numel() if value is not None else 0
        if found["buffers"] > MOST_BUFFER_VALUES:
            raise Failure(
                "model_invalid",
                f"config.json in {folder} asks for tables of more than {MOST_BUFFER_VALUES:,} "
                f"values ({name})",
            )

    hooks = (
        register_module_parameter_registration_hook(parameter),
        register_module_buffer_registration_hook(buffer),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _unreadable(folder: Path, error: Exception) -> Failure:
    said = " ".join(str(error).split())[:300]
    return Failure(
        "model_invalid", f"transformers cannot read the model in {folder}: {said or type(error)}"
    )
