"""A model made ready for one of the native engine's precisions."""

from __future__ import annotations

from typing import Any, cast

import torch

from submissions.failures import Failure
from training_recipes.model import OpenLM


def prepare_model(model: OpenLM, precision: str, local_rank: int) -> OpenLM:
    """The model on this process's GPU, where there is one, in a precision; for evaluation only.

    In bf16 weights and activations are; rotary frequencies and tables stay float32, as in the
    reference.
    """
    if precision == "tf32" and not torch.cuda.is_available():
        raise Failure("unknown_engine", "tf32 needs a GPU, and this machine has none")
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    frequencies = [layer.attention.pos_embed.inv_freq for layer in cast(Any, model.layers)]
    model.to(device, kind).eval().requires_grad_(False)
    for layer, exact in zip(cast(Any, model.layers), frequencies, strict=True):
        layer.attention.pos_embed.inv_freq = exact.to(device, torch.float32)
    return model
