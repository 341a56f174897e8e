"""Learning rate, loss and optimizer against open_lm's formulas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from training_recipes.model import OpenLM
from training_recipes.scales import Scale, load_scale
from training_recipes.training_rules import build_optimizer, learning_rate, training_loss


def test_the_rate_rises_linearly_and_falls_on_a_cosine() -> None:
    rule, steps = load_scale("400m-1x").optimizer, 7850
    assert learning_rate(rule, 0, steps) == pytest.approx(3e-3 / 2000)
    assert learning_rate(rule, 1999, steps) == pytest.approx(3e-3)
    assert learning_rate(rule, 2000, steps) == pytest.approx(3e-3)
    halfway = 2000 + (7850 - 2000) // 2
    assert learning_rate(rule, halfway, steps) == pytest.approx((3e-3 + 3e-5) / 2)
    last = learning_rate(rule, steps - 1, steps)
    assert 3e-5 < last < 3.001e-5


@pytest.mark.parametrize("z_loss", [0.0, 1e-4, 0.3])
def test_loss_and_gradient_are_those_of_the_two_terms(z_loss: float) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = 4 * torch.randn(3, 7, 50, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 50, (3, 7), generator=generator)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = training_loss(ours, targets, z_loss)
    plain = F.cross_entropy(theirs.flatten(0, 1), targets.flatten())
    plain = plain + z_loss * theirs.logsumexp(-1).square().mean()
    (3 * loss).backward()
    (3 * plain).backward()
    assert loss.item() == pytest.approx(plain.item(), rel=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-15, rtol=1e-10)


def test_a_fresh_model_is_as_uncertain_as_it_should_be(tiny: Scale) -> None:
    torch.manual_seed(0)
    logits = OpenLM(tiny.model)(torch.arange(32)[None])
    loss = training_loss(logits, torch.arange(1, 33)[None], z_loss=0.0)
    assert math.log(4096) < loss.item() < math.log(4096) + 1.5


def test_weight_decay_reaches_every_parameter(tiny: Scale) -> None:
    model = OpenLM(tiny.model)
    first, second = build_optimizer(model, tiny.optimizer).param_groups
    assert first["params"] == []
    assert len(second["params"]) == len(list(model.parameters()))
    assert second["weight_decay"] == 0.033
    assert (second["betas"], second["eps"]) == ((0.9, 0.95), 1e-8)


def test_one_kernel_takes_the_same_step(tiny: Scale) -> None:
    """Fused and plain AdamW from one gradient: equal to some roundings of the largest weight."""
    torch.manual_seed(3)
    models = [OpenLM(tiny.model) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [
        build_optimizer(model, tiny.optimizer, fused=fused)
        for model, fused in zip(models, (False, True), strict=True)
    ]
    assert [optimizer.defaults["fused"] for optimizer in optimizers] == [False, True]
    for step in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            draw = torch.Generator().manual_seed(step)
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=draw)
            optimizer.step()
    rounding = 8 * torch.finfo(torch.float32).eps
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        tolerance = rounding * one.abs().max().item()
        torch.testing.assert_close(one, other, atol=tolerance, rtol=0)
