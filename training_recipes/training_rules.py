"""The mathematics of training, exactly open_lm's, whatever engine runs it.

Source: mlfoundations/open_lm at commit 9bb92ef (scheduler.py, losses.py, main.py) with the options
that DCLM passes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from training_recipes.scales import Optimizer


def learning_rate(rule: Optimizer, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warm-up, then a cosine to `cooldown`.

    The last step is `steps` − 1, so the rate does not quite reach `cooldown`.
    """
    if step < rule.warmup:
        return rule.lr * (step + 1) / rule.warmup
    part = (step - rule.warmup) / (steps - rule.warmup)
    return rule.cooldown + 0.5 * (1 + math.cos(math.pi * part)) * (rule.lr - rule.cooldown)


def build_optimizer(model: nn.Module, rule: Optimizer, fused: bool = False) -> torch.optim.AdamW:
    """AdamW over two groups, as in open_lm's checkpoints: the first, without decay, is empty.

    Weight decay applies to every parameter, norm gains and embeddings included. `fused` makes one
    kernel of the whole step: the same formula, for GPUs.
    """
    groups = [
        {"params": [], "weight_decay": 0.0},
        {"params": list(model.parameters()), "weight_decay": rule.weight_decay},
    ]
    return torch.optim.AdamW(
        groups, lr=rule.lr, betas=(rule.beta1, rule.beta2), eps=rule.eps, fused=fused
    )


def training_loss(logits: Tensor, targets: Tensor, z_loss: float) -> Tensor:
    """Mean cross-entropy over all positions plus the z-loss; logits [B, T, V], targets [B, T].

    The z-loss is `z_loss` times the mean square of the logits' logsumexp. No position is masked:
    end-of-text is predicted like any other id.
    """
    flat = (logits.flatten(0, -2), targets.flatten(), z_loss)
    loss: Tensor = _CrossEntropyAndZ.apply(*flat)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropyAndZ(torch.autograd.Function):
    """Both terms from one log-softmax, and their gradient in its place.

    On a CPU, with 4,096 logits a position, the two terms one after the other took a quarter of a
    training step, and this takes a twelfth.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, z_loss: float) -> Tensor:
        log_probabilities = F.log_softmax(logits, dim=-1)
        chosen = log_probabilities.gather(1, targets[:, None])
        logsumexp = logits.gather(1, targets[:, None]) - chosen
        ctx.save_for_backward(log_probabilities, targets, logsumexp)
        ctx.z_loss = z_loss
        return z_loss * logsumexp.square().mean() - chosen.mean()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        log_probabilities, targets, logsumexp = ctx.saved_tensors
        each = grad / len(targets)
        gradient = log_probabilities.exp_().mul_(each * (1 + 2 * ctx.z_loss * logsumexp))
        gradient.scatter_add_(1, targets[:, None], -each.expand(len(targets), 1))
        return gradient, None, None
