"""Keys and values of the texts that are being written, one slot a text, all slots of one length."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor

from training_recipes.model import OpenLM


class SlotCache:
    """`slots` texts of up to `length` tokens; the first `used` slots are in use.

    `keys` and `values` hold a tensor [slots, heads, length, head_dim] for each layer; `visible`
    [slots, length] is false where a prompt holds the padding's id, which nobody attends to.
    """

    def __init__(self, model: OpenLM, slots: int, length: int) -> None:
        weight, shape = model.output.weight, model.shape
        size = (slots, shape.heads, length, shape.head_dim)
        self.keys = [weight.new_zeros(size) for _ in range(shape.layers)]
        self.values = [weight.new_zeros(size) for _ in range(shape.layers)]
        self.visible = torch.ones(slots, length, dtype=torch.bool, device=weight.device)

    def write(self, layer: int, slots: Tensor, at: Tensor, keys: Tensor, values: Tensor) -> None:
        """Puts keys and values [N, heads, head_dim] at the places `at` [N] of `slots` [N]."""
        self.keys[layer][slots, :, at] = keys
        self.values[layer][slots, :, at] = values

    def move(self, source: int, target: int) -> None:
        """Copies a slot over another."""
        for tensor in (*self.keys, *self.values, self.visible):
            tensor[target] = tensor[source]

    def attend(self, layer: int, queries: Tensor, at: Tensor, length: int) -> Tensor:
        """What queries [B, heads, Q, head_dim] of the first B slots, at places [B, Q], see."""
        texts = len(queries)
        earlier = torch.arange(length, device=at.device) <= at[:, :, None]
        allowed = (earlier & self.visible[:texts, None, :length])[:, None]
        return F.scaled_dot_product_attention(
            queries,
            self.keys[layer][:texts, :, :length],
            self.values[layer][:texts, :, :length],
            attn_mask=allowed,
        )
