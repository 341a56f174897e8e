"""Keys and values of the texts that are being written, one slot a text, all slots of one length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from numpy.typing import NDArray
from torch import Tensor

from training_recipes.model import OpenLM

IntArray = NDArray[np.int64]
TOGETHER = 8  # slots


@dataclass(frozen=True)
class Stretch:
    """Neighbouring slots; `allowed` [slots, 1, width, length] says what each of their rows sees."""

    slots: slice
    width: int
    allowed: Tensor


class SlotCache:
    """`slots` texts of up to `length` tokens; the first `used` slots are in use.

    `keys` and `values` hold a tensor [slots, heads, length, head_dim] for each layer; `visible`
    [slots, length] is false where a prompt holds the padding's id, to which nothing attends.
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

    def stretches(self, places: IntArray, counts: IntArray) -> list[Stretch]:
        """How the first B slots attend whose rows [B, width] stand at `places`, `counts` of each.

        On a CPU a few slots are computed together: a text that guesses many tokens, or a long one,
        then makes work for its neighbours alone. A GPU takes all at once.
        """
        step = TOGETHER if self.visible.device.type == "cpu" else len(places)
        return [
            self._stretch(slice(start, start + step), places, counts)
            for start in range(0, len(places), step)
        ]

    def _stretch(self, slots: slice, places: IntArray, counts: IntArray) -> Stretch:
        width = int(counts[slots].max())
        length = int((places[slots, 0] + counts[slots]).max())
        at = torch.from_numpy(places[slots, :width]).to(self.visible.device)
        earlier = torch.arange(length, device=at.device) <= at[:, :, None]
        own = slice(slots.start, slots.start + len(at))
        return Stretch(own, width, (earlier & self.visible[own, None, :length])[:, None])

    def attend(self, layer: int, queries: Tensor, stretches: list[Stretch]) -> Tensor:
        """What queries [B, heads, width, head_dim] see; nothing of use beside a slot's own rows."""
        attended = torch.empty_like(queries)
        for part in stretches:
            length = part.allowed.shape[-1]
            attended[part.slots, :, : part.width] = F.scaled_dot_product_attention(
                queries[part.slots, :, : part.width],
                self.keys[layer][part.slots, :, :length],
                self.values[layer][part.slots, :, :length],
                attn_mask=part.allowed,
            )
        return attended
