"""Scores batches of items: log-probabilities of answers, and from them what the model chooses.

Rules of the choice: llm-foundry 0.22.0, eval/metrics/nlp.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from evaluation.native.forward import RotaryTables, asked_states
from evaluation.native.head import Answers, read_answers
from evaluation.native.layout import lay_out
from evaluation.native.plan import Item
from training_recipes.model import OpenLM


@dataclass(frozen=True)
class RowScore:
    """One distinct row of a question: its answer's summed log-probability and perplexity.

    `perplexity` is exp of the mean cross-entropy, in float32 as in the reference. `all_best` says
    that every token of the answer is the most probable one, `gap` by how much logits would have to
    move to change that. `finite` is false when the model gave NaN or infinity.
    """

    logprob: float
    perplexity: float
    all_best: bool
    gap: float
    finite: bool


class AnyScorer(Protocol):
    """Scores items with one model; see `Scorer`."""

    @property
    def device(self) -> torch.device: ...

    def score(self, batch: list[Item], with_gaps: bool) -> list[tuple[int, int, RowScore]]: ...


class Scorer:
    """Scores items with one model, which stays as it is."""

    def __init__(self, model: OpenLM, pad_id: int) -> None:
        self.model, self.pad_id = model, pad_id
        self.device = model.output.weight.device
        self.tables = RotaryTables(model)
        self.finite_head = bool(torch.isfinite(model.output.weight).all())

    @torch.inference_mode()
    def score(self, batch: list[Item], with_gaps: bool) -> list[tuple[int, int, RowScore]]:
        """Question, distinct row and score, for each row of the items, in their order."""
        layout = lay_out(batch, self.device, self.pad_id)
        normed = self.model.norm(asked_states(self.model, self.tables, layout))
        answers = read_answers(
            normed, self.model.output.weight, layout.pair_at, layout.targets, with_gaps
        )
        scores = row_scores(answers, layout.lengths, self.finite_head)
        owners = [(item.question, scored.row) for item in batch for scored in item.scored]
        return [(*owner, score) for owner, score in zip(owners, scores, strict=True)]


def row_scores(answers: Answers, lengths: list[int], finite_head: bool = True) -> list[RowScore]:
    """Joins the pairs of each scored row, of which `lengths` says how many there are."""
    device = answers.logprobs.device
    sizes = torch.tensor(lengths, device=device)
    row = torch.repeat_interleave(torch.arange(len(lengths), device=device), sizes)
    # In float64, as a sum of hundreds of tokens has no four decimals in float32.
    precise = answers.logprobs.double()
    sums = precise.new_zeros(len(lengths)).index_add_(0, row, precise)

    def least(values: Tensor) -> Tensor:
        start = torch.full((len(lengths),), torch.inf, device=device)
        return start.scatter_reduce_(0, row, values.float(), "amin")

    columns = (
        sums,
        (-sums.float() / sizes).exp(),
        least(answers.best) > 0,
        least(answers.gaps),
        (least(answers.finite) > 0) & finite_head,
    )
    return [RowScore(*values) for values in zip(*(c.tolist() for c in columns), strict=True)]
