"""The OpenLM architecture, with the names, the arithmetic and the initial weights of open_lm.

Source: mlfoundations/open_lm at commit 9bb92ef (model.py, norms.py, attention.py and
positional_embedding/rotary.py), with the options that DCLM's recipe chooses. A pre-norm decoder
without bias, dropout or tied weights: embedding, blocks, norm, output matrix, logits in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from training_recipes.scales import ModelShape

ROTARY_BASE = 10_000
CUT = 3.0  # initial weights are drawn from a normal cut at this many standard deviations


@dataclass
class KeyValueCache:
    """Keys and values of the positions seen so far, one pair a layer, each [B, T, heads, head_dim].

    Starts empty and grows with every `OpenLM.forward` that it is given to.
    """

    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """How many positions it holds."""
        return self.layers[0][0].shape[1] if self.layers else 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends a layer's new positions; returns all of that layer's keys and values."""
        if layer == len(self.layers):
            self.layers.append((keys, values))
        else:
            old_keys, old_values = self.layers[layer]
            self.layers[layer] = (
                torch.cat((old_keys, keys), dim=1),
                torch.cat((old_values, values), dim=1),
            )
        return self.layers[layer]


class OpenLM(nn.Module):
    """A decoder of the given shape, with fresh weights drawn in open_lm's order.

    Two models built after the same `torch.manual_seed` hold the same weights, and the same as
    open_lm's. `shape` may describe any model with qk-norm on or off.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.tok_embeddings = nn.Embedding(shape.vocab, shape.dim)
        self.layers = nn.ModuleList(Block(shape, index) for index in range(shape.layers))
        self.norm = GainOnlyLayerNorm(shape.dim, shape.norm_eps)
        self.output = nn.Linear(shape.dim, shape.vocab, bias=False)
        draw_(self.output.weight, 1 / math.sqrt(shape.dim))
        draw_(self.tok_embeddings.weight, 1 / math.sqrt(shape.dim))

    def forward(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        head: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Logits [B, T, vocab] in float32 for ids [B, T].

        `mask` [B, cached + T] is true (or 1) where a position is real and false where it is
        padding, to which no position then attends; it is needed for padding on the left only. With
        `cache` the ids follow the positions already in it, and are added to it. With `head` it
        returns what that makes of the last hidden states [B, T, dim] and the output matrix
        [vocab, dim]: called in here, where a sharded matrix is whole.
        """
        past = cache.length if cache is not None else 0
        allowed = attention_pattern(ids.shape[1], past, mask)
        x = self.tok_embeddings(ids)
        for layer in self.layers:
            x = layer(x, allowed, past, cache)
        hidden = self.norm(x)
        if head is not None:
            return head(hidden, self.output.weight)
        logits: Tensor = self.output(hidden)
        return logits.float()


class Block(nn.Module):
    """x + attention(norm(x)), then the same with the feed-forward part."""

    def __init__(self, shape: ModelShape, index: int) -> None:
        super().__init__()
        self.attention = Attention(shape, index)
        self.feed_forward = SwiGLU(shape, index)
        self.attention_norm = GainOnlyLayerNorm(shape.dim, shape.norm_eps)
        self.ffn_norm = GainOnlyLayerNorm(shape.dim, shape.norm_eps)

    def forward(
        self, x: Tensor, allowed: Tensor | None, past: int, cache: KeyValueCache | None
    ) -> Tensor:
        """[B, T, dim] to [B, T, dim]."""
        h = x + self.attention(self.attention_norm(x), allowed, past, cache)
        out: Tensor = h + self.feed_forward(self.ffn_norm(h))
        return out


class Attention(nn.Module):
    """Causal attention with rotary positions; qk-norm spans all heads' concatenated width."""

    def __init__(self, shape: ModelShape, index: int) -> None:
        super().__init__()
        self.index, self.heads, self.head_dim = index, shape.heads, shape.head_dim
        self.in_proj = nn.Linear(shape.dim, 3 * shape.dim, bias=False)
        self.out_proj = nn.Linear(shape.dim, shape.dim, bias=False)
        self.pos_embed = Rotary(shape.head_dim)
        self.q_norm = self._qk_norm(shape)
        self.k_norm = self._qk_norm(shape)
        std = 1 / math.sqrt(shape.dim)
        draw_(self.in_proj.weight, std)
        draw_(self.out_proj.weight, std / depth_scale(index))

    @staticmethod
    def _qk_norm(shape: ModelShape) -> nn.Module:
        return GainOnlyLayerNorm(shape.dim, shape.norm_eps) if shape.qk_norm else nn.Identity()

    def forward(
        self, x: Tensor, allowed: Tensor | None, past: int, cache: KeyValueCache | None
    ) -> Tensor:
        """[B, T, dim] to [B, T, dim]; `allowed` as `attention_pattern` returns it."""
        batch, length, _ = x.shape
        queries, keys, values = self.in_proj(x).chunk(3, dim=-1)
        by_head = (batch, length, self.heads, self.head_dim)
        queries = self.q_norm(queries).view(by_head)
        keys = self.k_norm(keys).view(by_head)
        values = values.view(by_head)
        queries, keys = self.pos_embed(queries, keys, past)
        queries, keys = queries.to(values.dtype), keys.to(values.dtype)
        if cache is not None:
            keys, values = cache.extend(self.index, keys, values)
        attended = F.scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=allowed,
            is_causal=allowed is None and length > 1,
        )
        merged = attended.transpose(1, 2).reshape(batch, length, -1)
        out: Tensor = self.out_proj(merged)
        return out


class SwiGLU(nn.Module):
    """w3(silu(gate) · value), where w12 makes both and the gate is the first half."""

    def __init__(self, shape: ModelShape, index: int) -> None:
        super().__init__()
        hidden = shape.ffn_hidden
        self.w12 = nn.Linear(shape.dim, 2 * hidden, bias=False)
        self.w3 = nn.Linear(hidden, shape.dim, bias=False)
        draw_(self.w12.weight, 1 / math.sqrt(shape.dim))
        draw_(self.w3.weight, 1 / math.sqrt(hidden) / depth_scale(index))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, dim] to [B, T, dim]."""
        gate, value = self.w12(x).chunk(2, dim=-1)
        out: Tensor = self.w3(F.silu(gate) * value)
        return out


class GainOnlyLayerNorm(nn.Module):
    """open_lm's `gain_only_lp_layer_norm`: layer norm with a gain and no bias.

    Under autocast it computes in the autocast type (bfloat16), elsewhere in float32.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] to [..., width]."""
        device = x.device.type
        weight: Tensor = self.weight
        if torch.is_autocast_enabled(device):
            low = torch.get_autocast_dtype(device)
            x, weight = x.to(low), weight.to(low)
        with torch.autocast(device, enabled=False):
            return F.layer_norm(x, weight.shape, weight, None, self.eps)


class Rotary(nn.Module):
    """Rotary position embedding in the "rotate half" layout.

    The tables take the type of the keys, and the inverse frequencies are rounded to that type
    first: in bfloat16 the model is trained with other frequencies than in float32, and a recipe
    that computed them better would be another recipe.
    """

    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        # On the CPU whatever the default device: arithmetic on `meta` imports torch's compiler.
        exponents = torch.arange(0, head_dim, 2, device="cpu").float() / head_dim
        self.register_buffer("inv_freq", 1.0 / (ROTARY_BASE**exponents))
        self._tables: tuple[Tensor, Tensor] | None = None

    def forward(self, queries: Tensor, keys: Tensor, past: int) -> tuple[Tensor, Tensor]:
        """Both [B, T, heads, head_dim], turned by their positions past … past + T − 1."""
        end = past + keys.shape[1]
        cos, sin = (table[:, past:end] for table in self._cos_and_sin(end, keys))
        return queries * cos + rotate_half(queries) * sin, keys * cos + rotate_half(keys) * sin

    def _cos_and_sin(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Tables [1, ≥ length, 1, head_dim] in the type and on the device of `like`."""
        kept = self._tables
        if (
            kept is None
            or kept[0].shape[1] < length
            or kept[0].dtype != like.dtype
            or kept[0].device != like.device
        ):
            positions = torch.arange(length, device=like.device, dtype=torch.float32)
            half = positions[:, None] * self.inv_freq.to(like.device, like.dtype)[None, :]
            angles = torch.cat((half, half), dim=-1)[None, :, None, :]
            kept = angles.cos().to(like.dtype), angles.sin().to(like.dtype)
            self._tables = kept
        return kept


def without_weights(shape: ModelShape) -> OpenLM:
    """A decoder whose parameters are on the device `meta`, for weights that are then loaded.

    It draws nothing and consumes no random numbers.
    """
    with torch.device("meta"), _NothingDrawn():
        return OpenLM(shape)


class _NothingDrawn(TorchFunctionMode):
    """Skips functions that fill a tensor in place, whose names end with an underscore.

    Drawing on `meta` would change nothing either, but imports torch's compiler: a second of CPU.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func.__name__.endswith("_") and not func.__name__.endswith("__"):
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def rotate_half(x: Tensor) -> Tensor:
    """(x1, x2) to (−x2, x1), where the last axis is cut in the middle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def attention_pattern(length: int, past: int, mask: Tensor | None) -> Tensor | None:
    """Who may attend to whom: bool [B or 1, 1, length, past + length], or None for plain causal.

    A padding position, which may attend to nothing real, attends to everything instead: softmax
    over nothing is not a number; the result is never read.
    """
    if mask is None and (past == 0 or length == 1):
        return None
    device = mask.device if mask is not None else None
    causal = torch.ones(length, past + length, dtype=torch.bool, device=device).tril(past)
    if mask is None:
        return causal[None, None]
    allowed = causal[None, None] & mask.bool()[:, None, None, :]
    return allowed | ~allowed.any(dim=-1, keepdim=True)


def depth_scale(index: int) -> float:
    """The divisor of the initial weights that write into the residual stream at layer `index`."""
    return math.sqrt(2 * (index + 1))


def draw_(weight: Tensor, std: float) -> None:
    """Fills `weight` from a truncated normal, consuming the global random generator."""
    nn.init.trunc_normal_(weight, std=std, a=-CUT * std, b=CUT * std)
