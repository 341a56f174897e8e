"""Greedy answers by transformers' own `generate`, which stops each text where ours would stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessorList, StoppingCriteriaList

from evaluation.hf_model import HuggingFaceModel
from evaluation.native.generation import Prompt, Written
from evaluation.native.stops import StopFinder


class HuggingFaceWriter:
    """Writes texts with one model, as `Writer` does with ours.

    Prompts are padded on the left and masked by the padding's id, as by LLM Foundry.
    """

    def __init__(
        self, loaded: HuggingFaceModel, decode: Callable[[list[int]], str], end_id: int, pad_id: int
    ) -> None:
        self.model, self.decode = loaded.model, decode
        self.end_id, self.pad_id = end_id, pad_id
        self.stops = StopFinder(decode)

    def write(self, prompts: list[Prompt], budget: int, slots: int) -> Iterator[Written]:
        """The texts; of at most `budget` tokens of prompts, and of `slots` prompts, at a time."""
        waiting = sorted(prompts, key=lambda p: (p.new_tokens, len(p.ids), p.question))
        while waiting:
            batch = [waiting.pop()]
            width = len(batch[0].ids)  # the longest is taken first
            while (
                waiting
                and len(batch) < slots
                and (len(batch) + 1) * width <= budget
                and waiting[-1].new_tokens == batch[0].new_tokens
            ):
                batch.append(waiting.pop())
            yield from self._write(batch)

    @torch.inference_mode()
    def _write(self, batch: list[Prompt]) -> list[Written]:
        width = max(len(prompt.ids) for prompt in batch)
        ids = np.full((len(batch), width), self.pad_id, dtype=np.int64)
        for row, prompt in enumerate(batch):
            ids[row, width - len(prompt.ids) :] = prompt.ids
        tensor = torch.from_numpy(ids).to(self.model.device)
        watch = _Watch(batch, width, self.end_id, self.stops)
        self.model.generate(
            tensor,
            attention_mask=(tensor != self.pad_id).long(),
            pad_token_id=self.pad_id,
            eos_token_id=self.end_id,
            max_new_tokens=batch[0].new_tokens,
            use_cache=True,
            logits_processor=LogitsProcessorList([watch.see]),  # type: ignore[no-untyped-call]
            stopping_criteria=StoppingCriteriaList([watch.stop]),  # type: ignore[no-untyped-call]
        )
        return [
            Written(prompt.question, prompt.rule.said(self.decode(text)), gap, finite)
            for prompt, text, gap, finite in zip(
                batch, watch.texts, watch.gaps, watch.finite, strict=True
            )
        ]


class _Watch:
    """Follows the texts of one `generate`: which token each gets, and by how much it won."""

    def __init__(self, batch: Sequence[Prompt], width: int, end_id: int, stops: StopFinder) -> None:
        self.batch, self.width, self.end_id, self.stops = batch, width, end_id, stops
        self.texts: list[list[int]] = [[] for _ in batch]
        self.gaps = [float("inf")] * len(batch)
        self.finite = [True] * len(batch)
        self.over = [False] * len(batch)

    def see(self, _ids: Tensor, logits: Tensor) -> Tensor:
        """The logits [texts, vocabulary] of the next tokens, as they are."""
        two = logits.topk(min(2, logits.shape[-1]), dim=-1).values
        gaps = (two[:, 0] - two[:, -1]).tolist()
        finite = torch.isfinite(logits).all(dim=-1).tolist()
        for row in range(len(self.batch)):
            if not self.over[row]:
                self.gaps[row] = min(self.gaps[row], gaps[row])
                self.finite[row] = self.finite[row] and finite[row]
        return logits

    def stop(self, ids: Tensor, _scores: Any) -> Tensor:
        """Which texts [texts] are finished, once each has its new token."""
        for row, token in enumerate(ids[:, -1].tolist()):
            if self.over[row]:
                continue
            if token != self.end_id:
                self.texts[row].append(token)
            self.over[row] = (
                token == self.end_id
                or not self.finite[row]
                or self.stops.reached(self.batch[row].rule, self.texts[row])
            )
        return torch.tensor(self.over, device=ids.device)
