"""A GGUF file of a Llama as a folder that `crucible evaluate` takes: weights in float32, tokenizer.

    python benchmarks/gguf_model.py MODEL.gguf OUTPUT

Needs `gguf` beside Crucible's own requirements, to undo the quantisation; the rest of what the
format did to names, rows and tokenizer is undone here, since transformers wants another package for
it and forgets that this kind of byte-level BPE splits numbers into digits.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
LAYER = re.compile(r"blk\.(\d+)\.")
CONTROL = 3  # the token type of special tokens. Source: the GGUF specification
KNOWN = "smollm"  # the one splitting of texts that `tokenizer_of` knows


def main() -> None:
    """Converts the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    reader = GGUFReader(arguments.model)
    config = config_of(reader)
    weights = {}
    for tensor in reader.tensors:
        name = LAYER.sub(r"model.layers.\1.", tensor.name.removesuffix(".weight"))
        place, _, part = name.rpartition(".")
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if part in ("attn_q", "attn_k"):
            heads = config.num_attention_heads if part == "attn_q" else config.num_key_value_heads
            values = unturned(values, heads)
        weights[f"{place}{'.' if place else ''}{NAMES[part]}.weight"] = np.ascontiguousarray(values)
    config.tie_word_embeddings = "lm_head.weight" not in weights
    config.save_pretrained(arguments.output)
    save_file(weights, arguments.output / "model.safetensors", metadata={"format": "pt"})
    tokenizer_of(reader).save_pretrained(arguments.output)


def config_of(reader: GGUFReader) -> LlamaConfig:
    """The shape, from the file's numbers."""

    def number(name: str) -> Any:
        return reader.fields[f"llama.{name}"].contents()

    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=number("vocab_size"),
        hidden_size=number("embedding_length"),
        intermediate_size=number("feed_forward_length"),
        num_hidden_layers=number("block_count"),
        num_attention_heads=number("attention.head_count"),
        num_key_value_heads=number("attention.head_count_kv"),
        max_position_embeddings=number("context_length"),
        rms_norm_eps=number("attention.layer_norm_rms_epsilon"),
        rope_theta=number("rope.freq_base"),
    )


def unturned(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """The rows of each head [outputs, inputs], which the format interleaves, in halves again."""
    outputs, inputs = matrix.shape
    pairs = matrix.reshape(heads, outputs // heads // 2, 2, inputs)
    return pairs.swapaxes(1, 2).reshape(outputs, inputs)


def tokenizer_of(reader: GGUFReader) -> PreTrainedTokenizerFast:
    """The tokenizer whose vocabulary and merges the file holds."""

    def field(name: str) -> Any:
        return reader.fields[f"tokenizer.ggml.{name}"].contents()

    if field("model") != "gpt2" or field("pre") != KNOWN:
        raise SystemExit(f"only byte-level BPE of the kind {KNOWN} is known here")
    tokens = field("tokens")
    merges = [tuple(pair.split(" ")) for pair in field("merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, field("token_type"), strict=True)
               if kind == CONTROL]  # fmt: skip
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[field("bos_token_id")],
        eos_token=tokens[field("eos_token_id")],
        pad_token=tokens[field("padding_token_id")],
        unk_token=tokens[field("unknown_token_id")],
    )


if __name__ == "__main__":
    main()
