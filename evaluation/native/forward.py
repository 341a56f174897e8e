"""OpenLM's forward pass over a batch laid out flat.

The arithmetic is that of training_recipes/model.py, whose modules hold the weights; only which
tokens are computed, and in which order they lie, is this engine's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor

from evaluation.native.layout import Layout, Padded
from training_recipes.model import OpenLM

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
Keep = Callable[[int, Tensor, Tensor], None]


class RotaryTables:
    """Cosines and sines [positions, head_dim / 2] in float32 whatever the weights' type.

    From the checkpoint's frequencies, as in the reference's float32 evaluation; training in
    bfloat16 rounds them, which is the training recipe's business.
    """

    def __init__(self, model: OpenLM) -> None:
        first = cast(Any, model.layers[0])
        self._frequencies: Tensor = first.attention.pos_embed.inv_freq
        self._make(model.shape.seq_len)

    def _make(self, length: int) -> None:
        frequencies = self._frequencies
        positions = torch.arange(length, device=frequencies.device, dtype=torch.float32)
        angles = positions[:, None] * frequencies[None, :]
        self.length, self.cos, self.sin = length, angles.cos(), angles.sin()

    def at(self, positions: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """Tables [N, 1, head_dim / 2] for N positions, which are all below `longest`."""
        if longest > self.length:
            self._make(longest)
        return self.cos[positions][:, None], self.sin[positions][:, None]


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [N, heads, head_dim] turned by its positions, in x's type ("rotate half" layout)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def run_blocks(
    model: OpenLM,
    ids: Tensor,
    angles: tuple[Tensor, Tensor],
    attend: Attend,
    asked: Tensor | None = None,
) -> Tensor:
    """The last block's output for ids [N], not yet normed: [N, dim], or [M, dim] of the M `asked`.

    `angles` are the tables for the ids' positions. `attend(layer, queries, keys, values)` gets each
    layer's, [N, heads, head_dim], turned by their positions, and returns what the queries attended
    to, [N, dim]; of the last layer the queries of the `asked` alone.
    """
    x = model.tok_embeddings(ids)
    for number, block in enumerate(model.layers):
        layer = cast(Any, block)
        normed = layer.attention_norm(x)
        if asked is not None and number == len(model.layers) - 1:
            queries, keys, values = _last(layer.attention, normed, angles, asked)
            x = x.index_select(0, asked)
        else:
            queries, keys, values = _all(layer.attention, normed, angles)
        x = x + layer.attention.out_proj(attend(number, queries, keys, values))
        x = x + layer.feed_forward(layer.ffn_norm(x))
    return cast(Tensor, x)


def _all(attention: Any, x: Tensor, angles: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Queries, keys and values [N, heads, head_dim] of x [N, dim]."""
    queries, keys, values = attention.in_proj(x).chunk(3, dim=-1)
    by_head = (-1, attention.heads, attention.head_dim)
    queries = turned(attention.q_norm(queries).view(by_head), *angles)
    keys = turned(attention.k_norm(keys).view(by_head), *angles)
    return queries, keys, values.reshape(by_head)


def _last(
    attention: Any, x: Tensor, angles: tuple[Tensor, Tensor], asked: Tensor
) -> tuple[Tensor, ...]:
    """Keys and values of x [N, dim], queries of the asked alone."""
    weight = attention.in_proj.weight
    width = x.shape[1]
    by_head = (-1, attention.heads, attention.head_dim)
    keys, values = F.linear(x, weight[width:]).chunk(2, dim=-1)
    queries = attention.q_norm(F.linear(x.index_select(0, asked), weight[:width])).view(by_head)
    queries = turned(queries, *(table.index_select(0, asked) for table in angles))
    keys = turned(attention.k_norm(keys).view(by_head), *angles)
    return queries, keys, values.reshape(by_head)


def asked_states(
    model: OpenLM, tables: RotaryTables, layout: Layout, keep: Keep | None = None
) -> Tensor:
    """The last block's output [M, dim] for the asked tokens of a batch, not yet normed.

    `keep` is given each layer's keys and values [N, heads, head_dim].
    """
    last = len(model.layers) - 1

    def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        if keep is not None:
            keep(layer, keys, values)
        if layer == last:
            return _ask(queries, keys, values, layout)
        return _attend(queries, keys, values, layout)

    angles = tables.at(layout.positions, layout.last_position + 1)
    return run_blocks(model, layout.ids, angles, attend, layout.asked_at)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, layout: Layout) -> Tensor:
    """[N, heads, head_dim] each to [N, dim]: prefixes causally, suffixes as the layout allows."""
    prefixes, suffixes = layout.prefixes, layout.suffixes
    q, k, v = (_pad(tensor, prefixes, layout.items) for tensor in (queries, keys, values))
    attended = F.scaled_dot_product_attention(
        q, k, v, attn_mask=prefixes.allowed, is_causal=prefixes.allowed is None
    )
    out = _flat(attended, prefixes)
    if suffixes is None:
        return out
    q, ks, vs = (_pad(tensor, suffixes, layout.items) for tensor in (queries, keys, values))
    k, v = torch.cat((k, ks), dim=2), torch.cat((v, vs), dim=2)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=suffixes.allowed)
    return torch.cat((out, _flat(attended, suffixes)))


def _ask(queries: Tensor, keys: Tensor, values: Tensor, layout: Layout) -> Tensor:
    """Queries [M, heads, head_dim] of the asked tokens to [M, dim]."""
    q = _pad(queries, layout.asked, layout.items)
    k, v = (_pad(tensor, layout.prefixes, layout.items) for tensor in (keys, values))
    if layout.suffixes is not None:
        ks, vs = (_pad(tensor, layout.suffixes, layout.items) for tensor in (keys, values))
        k, v = torch.cat((k, ks), dim=2), torch.cat((v, vs), dim=2)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=layout.asked.allowed)
    return _flat(attended, layout.asked)


def _pad(tensor: Tensor, padded: Padded, items: int) -> Tensor:
    """[rows, heads, head_dim] to [B, heads, width, head_dim]."""
    gathered = tensor.index_select(0, padded.at)
    return gathered.view(items, -1, *tensor.shape[1:]).transpose(1, 2)


def _flat(attended: Tensor, padded: Padded) -> Tensor:
    """[B, heads, width, head_dim] to [rows, dim]."""
    merged = attended.transpose(1, 2).flatten(0, 1).flatten(1)
    return merged.index_select(0, padded.back)
