"""The loss in chunks against the plain one: values, gradients, and what it never holds."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from training_recipes.chunked_loss import chunked_loss
from training_recipes.training_rules import training_loss

ROWS, LENGTH, DIM, VOCAB = 3, 7, 8, 50


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    hidden = torch.randn(ROWS, LENGTH, DIM, generator=draw, dtype=torch.float64)
    weight = torch.randn(VOCAB, DIM, generator=draw, dtype=torch.float64)
    targets = torch.randint(0, VOCAB, (ROWS, LENGTH), generator=draw)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets


@pytest.mark.parametrize("z_loss", [0.0, 1e-4, 0.3])
@pytest.mark.parametrize("chunk", [1, 4, 20, 21, 1000])
def test_values_and_gradients_are_those_of_the_two_terms(z_loss: float, chunk: int) -> None:
    """Against the formula in float64; ours sums in float32, over at most VOCAB terms."""
    hidden, weight, targets = inputs()
    logits = hidden @ weight.T
    plain = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    plain = plain + z_loss * logits.logsumexp(-1).square().mean()
    expected = torch.autograd.grad(0.25 * plain, (hidden, weight))
    loss = chunked_loss(hidden, weight, targets, z_loss, chunk)
    assert loss.dtype == torch.float32
    found = torch.autograd.grad(0.25 * loss, (hidden, weight))
    eps = VOCAB * torch.finfo(torch.float32).eps
    assert loss.item() == pytest.approx(plain.item(), rel=eps)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=eps * other.abs().max().item(), rtol=0)


def test_one_chunk_gives_the_plain_loss_bit_for_bit() -> None:
    hidden, weight, targets = inputs(torch.float32)
    loss = chunked_loss(hidden, weight, targets, 1e-4)
    assert torch.equal(loss, training_loss(hidden @ weight.T, targets, 1e-4))


def test_under_autocast_the_products_are_in_bfloat16() -> None:
    hidden, weight, targets = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = chunked_loss(hidden, weight, targets, 1e-4, chunk=1000)
        plain = training_loss(F.linear(hidden, weight).float(), targets, 1e-4)
    assert torch.equal(loss, plain)
    assert loss.item() != chunked_loss(hidden, weight, targets, 1e-4).item()
    found = torch.autograd.grad(loss, (hidden, weight))
    expected = torch.autograd.grad(plain, (hidden, weight))
    eps = 2 * torch.finfo(torch.bfloat16).eps
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=eps * other.abs().max().item(), rtol=0)


class _Largest(TorchDispatchMode):
    """Counts the values of the largest tensor that any operation gives."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given = func(*args, **(kwargs or {}))
        if isinstance(given, Tensor):
            self.values = max(self.values, given.numel())
        return given


def test_all_logits_are_never_there_at_once() -> None:
    hidden, weight, targets = inputs(torch.float32)
    with _Largest() as largest:
        chunked_loss(hidden, weight, targets, 1e-4, chunk=4).backward()
    assert largest.values == VOCAB * DIM  # the matrix; the logits of a chunk are fewer
    with _Largest() as largest:
        training_loss(hidden @ weight.T, targets, 1e-4).backward()
    assert largest.values == ROWS * LENGTH * VOCAB
