"""A model made ready for a precision, and what scores and writes with it: ours or another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from evaluation.native.decoding import Decoder
from evaluation.native.generation import AnyWriter, Writer
from evaluation.native.scoring import AnyScorer, Scorer
from evaluation.native.tokens import PromptEncoder
from submissions.failures import Failure
from training_recipes.model import OpenLM

if TYPE_CHECKING:
    from evaluation.hf_model import HuggingFaceModel

M = TypeVar("M", bound="OpenLM | HuggingFaceModel")


def prepare_model(model: M, precision: str, local_rank: int) -> M:
    """The model on this process's GPU, where there is one, in a precision; for evaluation only.

    In bf16 weights and activations are; rotary frequencies and tables stay float32, as in the
    reference.
    """
    if precision == "tf32" and not torch.cuda.is_available():
        raise Failure("unknown_engine", "tf32 needs a GPU, and this machine has none")
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    network = model if isinstance(model, OpenLM) else model.model
    exact = [(owner, name, value) for owner in network.modules() for name, value
             in owner.named_buffers(recurse=False) if name.endswith("inv_freq")]  # fmt: skip
    network.to(device, kind).eval().requires_grad_(False)
    for owner, name, value in exact:
        setattr(owner, name, value.to(device, torch.float32))
    return model


def scorer_of(model: OpenLM | HuggingFaceModel, pad_id: int) -> AnyScorer:
    """What scores with a prepared model."""
    if isinstance(model, OpenLM):
        return Scorer(model, pad_id)
    from evaluation.native.hf_scoring import HuggingFaceScorer

    return HuggingFaceScorer(model, pad_id)


def writer_of(
    model: OpenLM | HuggingFaceModel, scorer: AnyScorer, encoder: PromptEncoder
) -> AnyWriter:
    """What writes with a prepared model; ours shares its scorer's tables."""
    if isinstance(model, OpenLM):
        decoder = Decoder(model, cast(Any, scorer).tables, encoder.pad_id)
        return Writer(decoder, encoder.decode, encoder.end_id)
    from evaluation.native.hf_writing import HuggingFaceWriter

    return HuggingFaceWriter(model, encoder.decode, encoder.end_id, encoder.pad_id)
