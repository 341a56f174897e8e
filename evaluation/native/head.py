"""Logits only where something is predicted, a stretch of rows and of the vocabulary at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor

# Logits [rows, vocabulary] that exist at a time: as many as stay in a CPU's cache.
ROWS = {"cpu": 128, "cuda": 2048}
VOCABULARY = {"cpu": 4096, "cuda": 1 << 30}


@dataclass(frozen=True)
class Rows:
    """Of each row of the head: the largest logit and its id, and the logarithm of all exp's sum."""

    peaks: Tensor
    ids: Tensor
    log_sums: Tensor


@dataclass(frozen=True)
class Answers:
    """Of each pair of a row and a target: log-probability, and whether the target is the argmax.

    `gaps`: the target's logit less the best other's where the target is the argmax, else less the
    best one's. `finite` is false where the model gives NaN or infinity. All [pairs].
    """

    logprobs: Tensor
    best: Tensor
    gaps: Tensor
    finite: Tensor


def read_answers(
    normed: Tensor, weight: Tensor, pair_at: Tensor, targets: Tensor, with_gaps: bool
) -> Answers:
    """The answers for pairs (pair_at, targets) of normed hidden states [M, dim].

    `best` and `gaps` are read only `with_gaps`: choosing among options needs neither.
    """
    log_sums = normed.new_empty(len(normed), dtype=torch.float32)
    peaks, ids = torch.empty_like(log_sums), torch.empty_like(log_sums, dtype=torch.int64)
    chosen = torch.empty(len(targets), device=normed.device)
    size = ROWS[normed.device.type]
    for start in range(0, len(normed), size):
        stretch = slice(start, start + size)
        pairs = (pair_at >= start) & (pair_at < start + size)
        rows, chosen[pairs] = _read(
            normed[stretch], weight, pair_at[pairs] - start, targets[pairs], with_gaps
        )
        peaks[stretch], ids[stretch], log_sums[stretch] = rows.peaks, rows.ids, rows.log_sums
    logprobs = chosen - log_sums[pair_at]
    finite = torch.isfinite(normed).all(dim=-1)[pair_at] & torch.isfinite(logprobs)
    best, gaps = ids[pair_at] == targets, chosen - peaks[pair_at]
    if with_gaps and bool(best.any()):
        gaps[best] = chosen[best] - _best_other(normed[pair_at[best]], weight, targets[best])
    return Answers(logprobs, best, gaps, finite)


def _read(
    normed: Tensor, weight: Tensor, at: Tensor, targets: Tensor, with_ids: bool
) -> tuple[Rows, Tensor]:
    """The figures of a stretch of rows, and the logits of the targets."""
    chosen = torch.empty(len(at), device=normed.device)
    peaks, ids, sums = [], [], []
    width = VOCABULARY[normed.device.type]
    for start in range(0, len(weight), width):
        logits = F.linear(normed, weight[start : start + width]).float()
        here = (targets >= start) & (targets < start + width)
        chosen[here] = logits[at[here], targets[here] - start]
        if with_ids:
            peak, place = logits.max(dim=-1)
            ids.append(place + start)
        else:
            peak = logits.amax(dim=-1)
        peaks.append(peak)
        sums.append(logits.sub_(peak[:, None]).exp_().sum(dim=-1))
    by_part = torch.stack(peaks)
    top, part = by_part.max(dim=0)  # the first of equal ones, as argmax over all would choose
    total = (torch.stack(sums) * (by_part - top).exp()).sum(dim=0)
    first = torch.stack(ids).gather(0, part[None])[0] if with_ids else torch.full_like(part, -1)
    return Rows(top, first, top + total.log()), chosen


def _best_other(normed: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The largest logit beside each row's target."""
    found = []
    for start in range(0, len(normed), 64):
        logits = F.linear(normed[start : start + 64], weight).float()
        logits.scatter_(1, targets[start : start + 64, None], -torch.inf)
        found.append(logits.amax(dim=-1))
    return torch.cat(found)


def answers_in(logits: Tensor, pair_at: Tensor, targets: Tensor) -> Answers:
    """The answers for pairs (pair_at, targets) where a model gave all logits [M, vocabulary]."""
    logits = logits.float()
    chosen = logits[pair_at, targets]
    log_sums = logits.logsumexp(dim=-1)
    peaks, ids = logits.max(dim=-1)
    best, gaps = ids[pair_at] == targets, chosen - peaks[pair_at]
    two = logits.topk(min(2, logits.shape[-1]), dim=-1).values[:, -1]
    gaps = torch.where(best, chosen - two[pair_at], gaps)
    logprobs = chosen - log_sums[pair_at]
    finite = torch.isfinite(logits).all(dim=-1)[pair_at] & torch.isfinite(logprobs)
    return Answers(logprobs, best, gaps, finite)
