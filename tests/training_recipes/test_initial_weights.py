"""The weights that a seed gives are those of the recipes, or training refuses the torch it has."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from submissions.failures import Failure
from training_recipes import initial_weights
from training_recipes.initial_weights import require_recipes_draw
from training_recipes.model import OpenLM
from training_recipes.model_dir import weights_sha256
from training_recipes.scales import Scale, load_scale
from training_recipes.train import train

# Fresh weights of the scale's own seed with torch 2.13.0: with the vector instructions that every
# x86 server has (AVX2, AVX-512), and without them (ATEN_CPU_CAPABILITY=default).
FRESH = {
    "cpu-300k": (
        "782cbd3793584a41ab978b13a2eab6933ed3bf9c7d25e27699d11e491e60f3ed",
        "1af14b663cbd307ff798597e4c095e9101482b4f9bdbe9611adf1760d5747efb",
    ),
    "smoke": (
        "21f35be469cbd14c68df950dc95bf796967e3f2dec5b03b16df3d6fd10b39790",
        "f6c886c72aa33e29a087e31e40fc2aeba705f0153448a4aa67a0f193b304228c",
    ),
}


@pytest.mark.parametrize("name", FRESH)
def test_fresh_weights_are_those_of_the_recipe(name: str) -> None:
    """A torch that fails here makes other models under the same recipe hash: do not pin it."""
    scale = load_scale(name)
    torch.manual_seed(scale.seed)
    assert weights_sha256(OpenLM(scale.model)) in FRESH[name]


def by_inverse_erf(tensor: torch.Tensor, std: float, a: float, b: float) -> torch.Tensor:
    """A truncated normal by the inverse of its distribution function, as torch drew it to 2.11."""
    low, high = math.erf(a / std / math.sqrt(2)), math.erf(b / std / math.sqrt(2))
    with torch.no_grad():
        return tensor.uniform_(low, high).erfinv_().mul_(std * math.sqrt(2)).clamp_(a, b)


def test_this_torch_is_right_and_the_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    require_recipes_draw()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_torch_that_draws_otherwise_trains_nothing(
    monkeypatch: pytest.MonkeyPatch, tiny: Scale, tokens: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", by_inverse_erf)
    with pytest.raises(Failure, match=r"below 2\.12") as caught:
        train(tokens, tmp_path / "model", tiny)
    assert (caught.value.code, caught.value.fault) == ("torch_unfit", "infrastructure")
    assert list(tmp_path.glob("*model*")) == []  # before anything is written


def test_redrawing_other_values_is_noticed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rejected value in four hundred: what a change of the rejection alone would alter."""

    def clamped(tensor: torch.Tensor, std: float, a: float, b: float) -> torch.Tensor:
        with torch.no_grad():
            return tensor.normal_(0, std).clamp_(a, b)

    monkeypatch.setattr(torch.nn.init, "trunc_normal_", clamped)
    with pytest.raises(Failure, match=torch.__version__.replace("+", r"\+")):
        require_recipes_draw()
    assert initial_weights.probe() != initial_weights.EXPECTED
