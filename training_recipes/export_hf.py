"""A model directory as a Hugging Face directory that plain `transformers` loads.

Hugging Face has no class with open_lm's layer norms, but one whose RMS norms give the same: layer
norm is RMS norm of what was centred (its mean subtracted), and centring can be done once, in the
weights that write what is normalised. See docs/decisions/0012-export-as-olmoe.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from submissions.codec import read
from submissions.failures import Failure
from submissions.job import write_json_atomically
from training_recipes.model import ROTARY_BASE, OpenLM
from training_recipes.model_card import model_card
from training_recipes.model_dir import TOKENIZER, load_model_dir
from training_recipes.safetensors_file import write_shards
from training_recipes.scales import ModelShape
from training_recipes.tokenizer import END_OF_TEXT, END_OF_TEXT_ID, tokenizer_files

SLAB = 4096  # rows that are centred at a time, in float64


@dataclass(frozen=True)
class Exported:
    """One tensor under its Hugging Face name, made when it is asked for."""

    name: str
    shape: tuple[int, ...]
    tensor: Callable[[], Tensor]


def export_model(model_dir: Path, output: Path) -> dict[str, Any]:
    """Writes `output`, which appears when it is complete; returns what it holds.

    All weights are float32. Needs memory for about two copies of the largest matrix, not for the
    model. Raises `model_invalid` as `load_model_dir` does, and `output_exists`.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise Failure("output_exists", f"{output} already holds files")
    model = load_model_dir(model_dir, mapped=True)
    config = config_of(model)
    work = output.with_name(f".{output.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    files = write_shards(work, list(exported_tensors(model)))
    write_json_atomically(work / "config.json", config)
    ids = {"bos_token_id": END_OF_TEXT_ID, "eos_token_id": END_OF_TEXT_ID}
    write_json_atomically(work / "generation_config.json", ids | {"pad_token_id": END_OF_TEXT_ID})
    _write_tokenizer(model_dir / TOKENIZER, work, model.shape.seq_len)
    (work / "README.md").write_text(model_card(model_dir, output.name, config, model.shape))
    work.rename(output)
    return {
        "output": str(output),
        "architecture": config["architectures"][0],
        "params": model.shape.params_trained,
        "dtype": config["torch_dtype"],
        "bytes": sum(path.stat().st_size for path in output.iterdir()),
        "weights": files,
    }


def config_of(model: OpenLM) -> dict[str, Any]:
    """config.json: OLMoE with a single expert where there is qk-norm, else Llama."""
    shape = model.shape
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.dim,
        "intermediate_size": shape.ffn_hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "hidden_act": "silu",
        "max_position_embeddings": shape.seq_len,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": float(ROTARY_BASE),
        "rope_scaling": rope_scaling_of(model),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": END_OF_TEXT_ID,
        "eos_token_id": END_OF_TEXT_ID,
        "pad_token_id": None,  # as a padding id, end-of-text would get no gradient in fine-tuning
        "use_cache": True,
        "torch_dtype": "float32",
    }
    if shape.qk_norm:
        config |= {
            "architectures": ["OlmoeForCausalLM"],
            "model_type": "olmoe",
            "num_experts": 1,  # its router chooses this one with weight 1, whatever its own weights
            "num_experts_per_tok": 1,
            "norm_topk_prob": True,
            "output_router_logits": False,
            "router_aux_loss_coef": 0.0,
            "clip_qkv": None,
        }
    return config


def rope_scaling_of(model: OpenLM) -> dict[str, Any] | None:
    """None for the formula's frequencies, else the checkpoint's own by one factor each.

    A checkpoint of mixed-precision FSDP holds frequencies that were rounded to bfloat16. "longrope"
    is the variant whose configuration lists a factor a frequency.
    """
    stored = [buffer for name, buffer in model.named_buffers() if name.endswith("inv_freq")]
    if any(not torch.equal(stored[0], other) for other in stored):
        raise Failure("model_invalid", "the layers have different rotary frequencies (inv_freq)")
    frequencies = stored[0].double()
    half = model.shape.head_dim // 2
    formula = ROTARY_BASE ** -(torch.arange(half, dtype=torch.float64) / half)
    if torch.allclose(frequencies, formula, rtol=1e-6, atol=0):
        return None
    factors = (formula / frequencies).tolist()
    return {
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": model.shape.seq_len,
    }


def exported_tensors(model: OpenLM) -> Iterator[Exported]:
    """Every tensor of the Hugging Face model, in the order of the layers."""
    shape = model.shape
    weights: dict[str, Tensor] = dict(model.named_parameters())

    def as_it_is(name: str, key: str) -> Exported:
        tensor = weights[key]
        return Exported(name, tuple(tensor.shape), lambda: tensor.float())

    yield Exported(
        "model.embed_tokens.weight",
        (shape.vocab, shape.dim),
        lambda: centred_rows(weights["tok_embeddings.weight"]),
    )
    for index in range(shape.layers):
        yield from _layer(shape, weights, index)
    yield as_it_is("model.norm.weight", "norm.weight")
    yield as_it_is("lm_head.weight", "output.weight")


def _layer(shape: ModelShape, weights: dict[str, Tensor], index: int) -> Iterator[Exported]:
    ours, theirs = f"layers.{index}.", f"model.layers.{index}."
    expert = "mlp.experts.0." if shape.qk_norm else "mlp."
    d, hidden = shape.dim, shape.ffn_hidden

    def tensor(
        name: str,
        key: str,
        rows: slice = slice(None),
        change: Callable[[Tensor], Tensor] | None = None,
    ) -> Exported:
        part = weights[ours + key][rows]
        make = change or torch.Tensor.float
        return Exported(theirs + name, tuple(part.shape), lambda: make(part))

    # Queries and keys are normalised too, hence centred; values are not.
    before_norm = centred_columns if shape.qk_norm else None
    in_proj = "attention.in_proj.weight"
    yield tensor("self_attn.q_proj.weight", in_proj, slice(0, d), before_norm)
    yield tensor("self_attn.k_proj.weight", in_proj, slice(d, 2 * d), before_norm)
    yield tensor("self_attn.v_proj.weight", in_proj, slice(2 * d, 3 * d))
    yield tensor("self_attn.o_proj.weight", "attention.out_proj.weight", change=centred_columns)
    if shape.qk_norm:
        yield tensor("self_attn.q_norm.weight", "attention.q_norm.weight")
        yield tensor("self_attn.k_norm.weight", "attention.k_norm.weight")
        yield Exported(f"{theirs}mlp.gate.weight", (1, d), lambda: torch.zeros(1, d))
    yield tensor(f"{expert}gate_proj.weight", "feed_forward.w12.weight", slice(0, hidden))
    yield tensor(f"{expert}up_proj.weight", "feed_forward.w12.weight", slice(hidden, 2 * hidden))
    yield tensor(f"{expert}down_proj.weight", "feed_forward.w3.weight", change=centred_columns)
    yield tensor("input_layernorm.weight", "attention_norm.weight")
    yield tensor("post_attention_layernorm.weight", "ffn_norm.weight")


def centred_columns(matrix: Tensor) -> Tensor:
    """[outputs, inputs] whose every column has mean 0, so that its outputs have; float32."""
    mean = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for slab in slabs(matrix):
        mean += slab.double().sum(dim=0)
    mean /= len(matrix)
    return torch.cat([(slab.double() - mean).float() for slab in slabs(matrix)])


def centred_rows(matrix: Tensor) -> Tensor:
    """[ids, width] whose every row has mean 0; float32."""
    centred = torch.empty(matrix.shape, dtype=torch.float32)
    for into, slab in zip(slabs(centred), slabs(matrix), strict=True):
        exact = slab.double()
        into.copy_(exact - exact.mean(dim=1, keepdim=True))
    return centred


def slabs(matrix: Tensor) -> list[Tensor]:
    """Views of its rows, at most SLAB in each."""
    return [matrix[start : start + SLAB] for start in range(0, len(matrix), SLAB)]


def _write_tokenizer(source: Path, output: Path, seq_len: int) -> None:
    """The tokenizer's files, with the padding that batches need and the model's length."""
    for path in tokenizer_files(source):
        shutil.copyfile(path, output / path.name)
    path = output / "tokenizer_config.json"
    config = read(dict[str, Any], path, code="model_invalid") if path.exists() else {}
    defaults = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "padding_side": "left",
    }
    write_json_atomically(path, defaults | config | {"model_max_length": seq_len})
