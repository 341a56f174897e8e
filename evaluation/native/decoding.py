"""Greedy decoding steps for several texts at a time, each at its own place, with a shared cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor

from evaluation.native.cache import SlotCache
from evaluation.native.forward import RotaryTables, asked_states, run_blocks
from evaluation.native.head import VOCABULARY
from evaluation.native.layout import lay_out
from evaluation.native.plan import Item
from training_recipes.model import OpenLM


@dataclass(frozen=True)
class Chosen:
    """Of each row [n]: the most probable id, its logit's distance to the second, all numbers?"""

    ids: list[int]
    gaps: list[float]
    finite: list[bool]


class Decoder:
    """Feeds prompts and then single tokens (or guesses of several) to one model."""

    def __init__(self, model: OpenLM, tables: RotaryTables, pad_id: int) -> None:
        self.model, self.tables, self.pad_id = model, tables, pad_id
        self.device = model.output.weight.device

    @torch.inference_mode()
    def begin(self, prompts: list[Item], cache: SlotCache, first: int) -> Chosen:
        """Reads prompts (without suffixes) into the slots from `first` on; what comes next."""
        layout = lay_out(prompts, self.device, self.pad_id)
        lengths = [len(prompt.prefix) for prompt in prompts]
        slots = np.repeat(np.arange(first, first + len(prompts)), lengths)
        at = np.concatenate([np.arange(length) for length in lengths])
        slot_of, place = self._tensor(slots), self._tensor(at)
        cache.visible[first : first + len(prompts)] = True
        cache.visible[slot_of, place] = layout.ids != self.pad_id

        def keep(layer: int, keys: Tensor, values: Tensor) -> None:
            cache.write(layer, slot_of, place, keys, values)

        return self._choose(asked_states(self.model, self.tables, layout, keep))

    @torch.inference_mode()
    def go_on(
        self, texts: list[list[int]], at: list[int], starts: list[int], cache: SlotCache
    ) -> Chosen:
        """What comes after each of the tokens `texts[i]`, of slot i, from its place `at[i]` on.

        `starts` are the positions of the slots' first tokens. All texts' tokens count as rows.
        """
        counts = np.array([len(ids) for ids in texts])
        width = int(counts.max())
        columns = np.arange(width)
        inside = columns < counts[:, None]
        places = np.array(at)[:, None] + columns
        flat_place = places[inside]
        positions = flat_place + np.repeat(starts, counts)
        slot_of = self._tensor(np.repeat(np.arange(len(texts)), counts))
        place = self._tensor(flat_place)
        first = np.cumsum(counts) - counts
        gather = self._tensor((first[:, None] + np.minimum(columns, counts[:, None] - 1)).ravel())
        back = self._tensor(np.flatnonzero(inside))
        stretches = cache.stretches(places, counts)

        def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            cache.write(layer, slot_of, place, keys, values)
            padded = queries[gather].view(len(texts), width, *queries.shape[1:]).transpose(1, 2)
            attended = cache.attend(layer, padded, stretches)
            return attended.transpose(1, 2).reshape(-1, queries[0].numel())[back]

        angles = self.tables.at(self._tensor(positions), int(positions.max()) + 1)
        ids = self._tensor(np.concatenate([np.array(row) for row in texts]))
        return self._choose(run_blocks(self.model, ids, angles, attend))

    def _choose(self, x: Tensor) -> Chosen:
        """The most probable next id after each hidden state [n, dim]."""
        normed, weight = self.model.norm(x), self.model.output.weight
        tops, ids = [], []
        width = VOCABULARY[self.device.type]
        for start in range(0, len(weight), width):
            logits = F.linear(normed, weight[start : start + width]).float()
            top, place = logits.max(dim=-1)
            second = logits.scatter_(1, place[:, None], -torch.inf).amax(dim=-1)
            tops += [top, second]
            ids += [place + start, place]  # the second's id is never asked for
        values, parts = torch.stack(tops), torch.stack(ids)
        best, part = values[::2].max(dim=0)  # the first of equal ones, as argmax would choose
        two = values.topk(min(2, len(values)), dim=0).values
        finite = torch.isfinite(normed).all(dim=-1) & torch.isfinite(best)
        return Chosen(
            parts[::2].gather(0, part[None])[0].tolist(),
            (two[0] - two[-1]).tolist(),
            finite.tolist(),
        )

    def _tensor(self, array: np.ndarray) -> Tensor:  # type: ignore[type-arg]
        return torch.from_numpy(array.astype(np.int64)).to(self.device, non_blocking=True)
