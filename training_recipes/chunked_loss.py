"""The training loss from hidden states, a part of the positions at a time.

All logits of a micro batch at once are the largest thing that training holds: 8 bytes times the
vocabulary for each position, 0.8 GB a row of the large scales, and as much again in backward. Here
they exist for a chunk of positions only, and the gradients are made while they do.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor
from torch.autograd.function import once_differentiable

from training_recipes.training_memory import CHUNK


def chunked_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, z_loss: float, chunk: int = CHUNK
) -> Tensor:
    """`training_loss(hidden @ weight.T, targets, z_loss)`, a scalar in float32.

    `hidden` [..., dim], `weight` [vocab, dim], `targets` [...] of the same leading shape. Under
    autocast the products are in its type, as a linear layer's are; sums are in float32. The
    gradients are computed in the forward pass, so that backward only scales them.
    """
    flat = (hidden.flatten(0, -2), weight, targets.flatten(), z_loss, chunk)
    loss: Tensor = _ChunkedLoss.apply(*flat)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, z_loss: float, chunk: int
    ) -> Tensor:
        device = hidden.device.type
        low = hidden.dtype
        if torch.is_autocast_enabled(device):
            low = torch.get_autocast_dtype(device)
        count = len(targets)
        with torch.autocast(device, enabled=False):
            matrix = weight.to(low)
            hidden_gradient = torch.empty_like(hidden)
            weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
            likelihood = torch.zeros((), device=hidden.device)
            squares = torch.zeros((), device=hidden.device)
            for start in range(0, count, chunk):
                part = slice(start, start + chunk)
                inputs, wanted = hidden[part].to(low), targets[part, None]
                logits = (inputs @ matrix.T).float()
                log_probabilities = F.log_softmax(logits, dim=-1)
                chosen = log_probabilities.gather(1, wanted)
                logsumexp = logits.gather(1, wanted) - chosen
                likelihood += chosen.sum()
                squares += logsumexp.square().sum()
                gradient = log_probabilities.exp_().mul_((1 + 2 * z_loss * logsumexp) / count)
                gradient.scatter_add_(1, wanted, torch.full_like(chosen, -1 / count))
                gradient = gradient.to(low)
                hidden_gradient[part] = gradient @ matrix
                weight_gradient += gradient.T @ inputs
        ctx.save_for_backward(hidden_gradient, weight_gradient.to(weight.dtype))
        return z_loss * (squares / count) - likelihood / count

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * grad, weight_gradient * grad, None, None, None
