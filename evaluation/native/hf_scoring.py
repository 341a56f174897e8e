"""Scores with a model of transformers: its own forward pass, told only where logits are wanted.

Rows are padded to the longest of their batch and masked by the padding's id, as LLM Foundry masks
them. Options that share a prompt compute it once, where the architecture allows it: the model
reads the prompts into its cache, and then the options' own tokens behind copies of it.
"""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from evaluation.hf_model import HuggingFaceModel
from evaluation.native.head import answers_in
from evaluation.native.noise import apart
from evaluation.native.plan import Item, Scored
from evaluation.native.scoring import RowScore, row_scores

Ids = NDArray[Any]
Scores = list[tuple[int, int, RowScore]]
# Predictions, and copies of a prompt's cached tokens, that exist at a time.
MOST_PREDICTIONS = {"cpu": 256, "cuda": 2048}
MOST_COPIED = {"cpu": 16_384, "cuda": 262_144}
FEW = 8  # options with long prompts that are computed together
# How far a shared prompt may move the log-probability of a short answer.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25}


class Head:
    """Gives a model's output matrix only the rows that are asked for: what follows stays its own.

    Works for every model that has such a matrix; of another all logits are computed.
    """

    def __init__(self, model: Any) -> None:
        self.asked: Tensor | None = None
        matrix = model.get_output_embeddings()
        if matrix is not None:
            matrix.register_forward_pre_hook(self._choose)

    def __call__(self, logits: Tensor, asked: Tensor) -> Tensor:
        """The logits [M, vocabulary] of the places `asked`, which count all rows' tokens."""
        if logits.shape[:2] == (1, len(asked)) and self.asked is None:
            return logits[0]
        self.asked = None
        return logits.flatten(0, 1)[asked]

    def _choose(self, _matrix: Any, hidden: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self.asked is None:
            return None
        chosen = hidden[0].flatten(0, 1)[self.asked][None]
        self.asked = None
        return (chosen, *hidden[1:])


class HuggingFaceScorer:
    """Scores items with one model, as `Scorer` does with ours."""

    def __init__(self, loaded: HuggingFaceModel, pad_id: int) -> None:
        self.model, self.pad_id = loaded.model, pad_id
        self.device: torch.device = self.model.device
        self.head = Head(self.model)
        self.takes_positions = "position_ids" in inspect.signature(self.model.forward).parameters
        self.shares = self._can_share(loaded.shape.vocab)

    @torch.inference_mode()
    def score(self, batch: list[Item], with_gaps: bool) -> Scores:
        """Question, distinct row and score, for each row of the items, in their order."""
        predictions = sum(item.predictions for item in batch)
        if predictions > MOST_PREDICTIONS[self.device.type] and len(batch) > 1:
            middle = len(batch) // 2
            return self.score(batch[:middle], with_gaps) + self.score(batch[middle:], with_gaps)
        if not batch[0].suffixes:
            return self._alone(batch)
        copied = sum(len(item.suffixes) * len(item.prefix) for item in batch)
        if self.shares and copied <= MOST_COPIED[self.device.type]:
            return self._shared(batch)
        rows = [row for item in batch for row in apart(item)]
        parts = [rows[start : start + FEW] for start in range(0, len(rows), FEW)]
        return [one for part in parts for one in self._alone(part)]

    def _alone(self, batch: list[Item]) -> Scores:
        """Each item's prefix is a row of its own."""
        ids = self._padded([item.prefix for item in batch])
        width = ids.shape[1]
        asked = [
            row * width + int(place)
            for row, item in enumerate(batch)
            for scored in item.scored
            for place in scored.places
        ]
        logits = self._logits(asked, input_ids=ids, attention_mask=self._mask(ids), use_cache=False)
        return self._answered(batch, logits)

    def _shared(self, batch: list[Item]) -> Scores:
        """Prefixes into a cache, suffixes behind copies of it; prefixes are padded on the left."""
        prefixes = self._padded([item.prefix for item in batch], left=True)
        suffixes = self._padded([suffix for item in batch for suffix in item.suffixes])
        lengths = np.array([len(item.prefix) for item in batch])
        owner = np.repeat(np.arange(len(batch)), [len(item.suffixes) for item in batch])
        early, late, order = _asked(batch, prefixes.shape[1], suffixes.shape[1])
        mask = self._mask(prefixes)
        cache: Any = DynamicCache()  # type: ignore[no-untyped-call]
        before = self._logits(
            early, input_ids=prefixes, attention_mask=mask, past_key_values=cache, use_cache=True,
            **self._positions(lengths - prefixes.shape[1], prefixes.shape[1]),
        )  # fmt: skip
        copies = torch.from_numpy(owner).to(self.device)
        cache.batch_select_indices(copies)
        after = self._logits(
            late, input_ids=suffixes, past_key_values=cache, use_cache=True,
            attention_mask=torch.cat((mask[copies], self._mask(suffixes)), dim=1),
            **self._positions(lengths[owner], suffixes.shape[1]),
        )  # fmt: skip
        return self._answered(batch, torch.cat((before, after))[order])

    def _answered(self, batch: list[Item], logits: Tensor) -> Scores:
        """Scores from the logits of every prediction, in the order of the items' rows."""
        rows = [scored for item in batch for scored in item.scored]
        targets = torch.from_numpy(np.concatenate([row.targets for row in rows]).astype(np.int64))
        pair_at = torch.arange(len(targets), device=self.device)
        answers = answers_in(logits, pair_at, targets.to(self.device))
        scores = row_scores(answers, [len(row.targets) for row in rows])
        owners = [(item.question, scored.row) for item in batch for scored in item.scored]
        return [(*owner, score) for owner, score in zip(owners, scores, strict=True)]

    def _logits(self, asked: list[int], **inputs: Any) -> Tensor:
        """The logits [M, vocabulary] after the `asked` tokens, counted over all rows."""
        places = torch.tensor(asked or [0], device=self.device)
        self.head.asked = places
        return self.head(self.model(**inputs).logits, places)[: len(asked)]

    def _padded(self, rows: list[Ids], left: bool = False) -> Tensor:
        ids = np.full((len(rows), max(map(len, rows))), self.pad_id, dtype=np.int64)
        for number, row in enumerate(rows):
            place = slice(ids.shape[1] - len(row), None) if left else slice(0, len(row))
            ids[number, place] = row
        return torch.from_numpy(ids).to(self.device)

    def _mask(self, ids: Tensor) -> Tensor:
        return (ids != self.pad_id).long()

    def _positions(self, first: NDArray[np.int64], width: int) -> dict[str, Tensor]:
        """The positions of rows whose first place has position `first`, as `generate` gives them.

        Below 0 is padding on the left. A model that takes none counts by the mask or by distance.
        """
        if not self.takes_positions:
            return {}
        positions = np.maximum(first[:, None] + np.arange(width), 0)
        return {"position_ids": torch.from_numpy(positions).to(self.device)}

    def _can_share(self, vocab: int) -> bool:
        """Whether the model gives with shared prompts what it gives without: tried on made-up ids.

        A recurrent model has no such cache, and one may take the padding into account.
        """
        items = _made_up_items(vocab, self.pad_id)
        with torch.inference_mode():
            alone = self._alone([row for item in items for row in apart(item)])
            try:
                shared = self._shared(items)
            except Exception:  # what a model makes of a cache that is not its own
                self.head.asked = None
                return False
        if not all(score.finite for *_, score in alone):
            return True  # the evaluation will say so
        values = np.array(
            [[a[2].logprob, b[2].logprob] for a, b in zip(alone, shared, strict=True)]
        )
        bound = TOLERANCE.get(self.model.dtype, TOLERANCE[torch.bfloat16])
        return bool(np.abs(values[:, 0] - values[:, 1]).max() <= bound)


def _asked(
    batch: list[Item], prefix_width: int, suffix_width: int
) -> tuple[list[int], list[int], list[int]]:
    """Where something is predicted: tokens of padded prefixes, and of padded suffixes.

    Both count over all rows; the third list has the place of every prediction among both, in the
    order of the items' rows.
    """
    early: dict[int, int] = {}
    late: dict[int, int] = {}
    found: list[tuple[bool, int]] = []
    suffix_row = 0
    for row, item in enumerate(batch):
        length = len(item.prefix)
        flat = {place: (row + 1) * prefix_width - length + place for place in range(length)}
        starts = length + np.cumsum([0, *map(len, item.suffixes)])
        for number, (start, end) in enumerate(pairwise(starts)):
            first = (suffix_row + number) * suffix_width - start
            flat |= {place: first + place for place in range(start, end)}
        suffix_row += len(item.suffixes)
        for scored in item.scored:
            for place in map(int, scored.places):
                part = early if place < length else late
                found.append((place < length, part.setdefault(int(flat[place]), len(part))))
    order = [place if is_early else len(early) + place for is_early, place in found]
    return list(early), list(late), order


def _made_up_items(vocab: int, pad_id: int) -> list[Item]:
    """Two prompts of unlike length, with options of unlike length that share them."""
    generator = np.random.default_rng(5)
    ids = np.setdiff1d(generator.choice(vocab, size=min(vocab, 200), replace=False), [pad_id])

    def draw(length: int) -> Ids:
        return generator.choice(ids, size=length)

    items = []
    for number, (prompt, answers) in enumerate(((9, (2, 4)), (23, (5, 1, 3)))):
        prefix, suffixes = draw(prompt), tuple(draw(answer) for answer in answers)
        starts = prompt + np.cumsum([0, *answers])
        scored = tuple(
            Scored(row, np.concatenate(([prompt - 1], np.arange(start, start + answer))),
                   np.concatenate((suffixes[row], draw(1))))
            for row, (start, answer) in enumerate(zip(starts, answers, strict=False))
        )  # fmt: skip
        items.append(Item(number, prefix, suffixes, scored))
    return items
