"""The mathematics of training, exactly open_lm's, whatever engine runs it.

Source: mlfoundations/open_lm at commit 9bb92ef (scheduler.py, losses.py, main.py) with the options
that DCLM passes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor, nn

from training_recipes.scales import Optimizer


def learning_rate(rule: Optimizer, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warm-up, then a cosine to `cooldown`.

    The last step is `steps` − 1, so the rate does not quite reach `cooldown`.
    """
    if step < rule.warmup:
        return rule.lr * (step + 1) / rule.warmup
    part = (step - rule.warmup) / (steps - rule.warmup)
    return rule.cooldown + 0.5 * (1 + math.cos(math.pi * part)) * (rule.lr - rule.cooldown)


def build_optimizer(model: nn.Module, rule: Optimizer) -> torch.optim.AdamW:
    """AdamW over two groups, as in open_lm's checkpoints: the first, without decay, is empty.

    Weight decay applies to every parameter, norm gains and embeddings included.
    """
    groups = [
        {"params": [], "weight_decay": 0.0},
        {"params": list(model.parameters()), "weight_decay": rule.weight_decay},
    ]
    return torch.optim.AdamW(groups, lr=rule.lr, betas=(rule.beta1, rule.beta2), eps=rule.eps)


def training_loss(logits: Tensor, targets: Tensor, z_loss: float) -> Tensor:
    """Mean cross-entropy over all positions plus the z-loss; logits [B, T, V], targets [B, T].

    No position is masked: end-of-text is predicted like any other id.
    """
    flat = logits.reshape(-1, logits.shape[-1])
    cross_entropy = F.cross_entropy(flat, targets.reshape(-1))
    return cross_entropy + z_loss * flat.logsumexp(dim=-1).square().mean()
