"""Whether this machine's torch draws the initial weights of the recipes from a seed.

Up to torch 2.11 `trunc_normal_` inverted the error function; since 2.12 it rejects what lies
outside the cut (pytorch pull request 174997), and the same seed gives other weights. A recipe's
hash cannot see that, so the draw itself is looked at.
"""

from __future__ import annotations

import torch

from submissions.failures import Failure
from training_recipes.model import draw_

# Sum, and sum weighted by place / DRAWN, of a draw from PROBE_SEED, measured with torch 2.13.0. All
# processors round alike to within 1e-4 a sum; another way of drawing differs by several units.
DRAWN, PROBE_SEED = 4096, 124
EXPECTED = (-2.3424, -21.4886)
TOLERANCE = 0.01


def require_recipes_draw() -> None:
    """Raises `torch_unfit` where a seed would give other weights than the recipes'.

    Leaves the global random generator as it was.
    """
    found = probe()
    if any(abs(one - other) > TOLERANCE for one, other in zip(found, EXPECTED, strict=True)):
        raise Failure(
            "torch_unfit",
            f"torch {torch.__version__} draws other initial weights than the recipes need, "
            "like every torch below 2.12",
        )


def probe() -> tuple[float, float]:
    """The two sums of one draw as models make it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PROBE_SEED)
        weight = torch.empty(DRAWN)
        draw_(weight, 1.0)
    exact = weight.double()
    return exact.sum().item(), (exact * torch.arange(DRAWN) / DRAWN).sum().item()
