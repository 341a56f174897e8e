"""The OpenLM architecture: names, shapes, initial weights and arithmetic."""

from __future__ import annotations

import math

import pytest
import torch

from tests.rounding import BFLOAT16, openlm_operations, rounding
from training_recipes.model import KeyValueCache, OpenLM, Rotary, without_weights
from training_recipes.scales import ModelShape

# The first and the last value of every matrix.
GOLDEN_WEIGHTS = {
    "tok_embeddings.weight": (-0.170335159, 0.174303114),
    "layers.0.attention.in_proj.weight": (-0.0376694947, 0.157186016),
    "layers.0.attention.out_proj.weight": (0.040918272, -0.0553005524),
    "layers.0.feed_forward.w12.weight": (0.00303529552, -0.038512405),
    "layers.0.feed_forward.w3.weight": (0.00546015939, -0.0396115072),
    "layers.1.attention.in_proj.weight": (0.0307796113, 0.270277381),
    "layers.1.attention.out_proj.weight": (-0.0182098672, -0.0869281441),
    "layers.1.feed_forward.w12.weight": (0.00459518842, 0.129774585),
    "layers.1.feed_forward.w3.weight": (0.0239509661, -0.0115485126),
    "output.weight": (-0.0212750938, 0.123701304),
}
GOLDEN_LOGITS = [0.0382645205, -0.1004236192, -0.4271930456, 0.2055161595]
SHAPE = ModelShape(dim=64, layers=2, heads=4, seq_len=48, vocab=300, qk_norm=True)


@pytest.fixture(scope="module")
def model() -> OpenLM:
    """Random weights, gains included, so that a gain that is not applied is noticed."""
    torch.manual_seed(7)
    model = OpenLM(SHAPE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.requires_grad_(False)


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, SHAPE.vocab, (2, 40), generator=torch.Generator().manual_seed(1))


def test_state_dict_has_open_lms_names_and_shapes(model: OpenLM) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    layer = {
        "attention.in_proj.weight": (192, 64),
        "attention.out_proj.weight": (64, 64),
        "attention.pos_embed.inv_freq": (8,),
        "attention.q_norm.weight": (64,),
        "attention.k_norm.weight": (64,),
        "feed_forward.w12.weight": (512, 64),
        "feed_forward.w3.weight": (64, 256),
        "attention_norm.weight": (64,),
        "ffn_norm.weight": (64,),
    }
    expected = {f"layers.{i}.{name}": shape for i in range(2) for name, shape in layer.items()}
    expected |= {
        "tok_embeddings.weight": (300, 64),
        "norm.weight": (64,),
        "output.weight": (300, 64),
    }
    assert shapes == expected


def bound_of(logits: torch.Tensor, length: int = SHAPE.seq_len) -> float:
    """How far two float32 computations of these logits may be apart."""
    return rounding(float(logits.abs().max()), openlm_operations(SHAPE, length))


def test_initial_weights_are_those_that_open_lm_draws() -> None:
    # From mlfoundations/open_lm's own Transformer (commit 9bb92ef) of this shape, built after the
    # same seed with torch 2.13.0 on a processor with AVX-512, where all weights were equal to ours,
    # bit for bit. Elsewhere torch computes a normal number's logarithm, root and cosine otherwise.
    torch.manual_seed(7)
    weights = OpenLM(SHAPE).state_dict()
    matrices = {name for name, weight in weights.items() if weight.dim() == 2}
    assert matrices == set(GOLDEN_WEIGHTS)
    for name, ends in GOLDEN_WEIGHTS.items():
        bound = rounding(float(weights[name].abs().max()), 5)
        assert weights[name].flatten()[[0, -1]].tolist() == pytest.approx(ends, abs=bound, rel=0)


def test_logits_are_those_of_open_lm() -> None:
    # Computed by the same Transformer; every logit was equal to ours, bit for bit.
    torch.manual_seed(7)
    with torch.no_grad():
        logits = OpenLM(SHAPE)(torch.arange(0, 300, 7)[None, :40])
    assert logits.dtype == torch.float32
    bound = bound_of(logits)
    assert logits[0, -1, :4].tolist() == pytest.approx(GOLDEN_LOGITS, abs=bound, rel=0)


def test_initial_weights_shrink_with_depth_and_are_cut_at_three_deviations() -> None:
    torch.manual_seed(0)
    model = OpenLM(SHAPE)
    for index, layer in enumerate(model.layers):
        expected = 1 / math.sqrt(256) / math.sqrt(2 * (index + 1))
        weight = layer.feed_forward.w3.weight
        assert weight.std().item() == pytest.approx(expected, rel=0.05)
        assert weight.abs().max().item() <= 3 * expected


def test_a_model_without_weights_has_their_shapes_and_draws_nothing() -> None:
    before, drawn = torch.get_rng_state(), OpenLM(SHAPE).state_dict()
    torch.set_rng_state(before)
    empty = without_weights(SHAPE)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.is_meta for parameter in empty.parameters())
    shapes = {name: tensor.shape for name, tensor in empty.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in drawn.items()}
    empty.load_state_dict(drawn, assign=True)
    ids = torch.arange(40)[None]
    torch.manual_seed(3)
    other = OpenLM(SHAPE)
    other.load_state_dict(drawn)
    assert torch.equal(empty(ids), other(ids))


def test_a_position_does_not_see_what_follows(model: OpenLM, ids: torch.Tensor) -> None:
    changed = ids.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % SHAPE.vocab
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, :20], after[:, :20])
    assert ((before - after)[:, 20:].abs().amax(dim=(0, 2)) > bound_of(before)).all()


@pytest.mark.parametrize("pieces", [[40], [10, 30], [10, 3, 1, 1, 25], [1] * 40])
def test_the_cache_gives_the_same_logits(
    model: OpenLM, ids: torch.Tensor, pieces: list[int]
) -> None:
    cache = KeyValueCache()
    logits = torch.cat([model(piece, cache=cache) for piece in ids.split(pieces, dim=1)], dim=1)
    assert cache.length == 40
    torch.testing.assert_close(logits, model(ids), atol=bound_of(logits), rtol=0)


def test_left_padding_changes_nothing_for_the_real_positions(
    model: OpenLM, ids: torch.Tensor
) -> None:
    padded = torch.cat([torch.zeros(2, 5, dtype=torch.long), ids], dim=1)
    mask = torch.ones_like(padded, dtype=torch.bool)
    mask[:, :5] = False
    cache = KeyValueCache()
    whole = model(padded, mask=mask)
    pieces = [model(padded[:, :30], mask=mask[:, :30], cache=cache)]
    pieces.append(model(padded[:, 30:], mask=mask, cache=cache))
    expected = model(ids)
    bound = bound_of(expected)
    torch.testing.assert_close(whole[:, 5:], expected, atol=bound, rtol=0)
    torch.testing.assert_close(torch.cat(pieces, dim=1)[:, 5:], expected, atol=bound, rtol=0)
    assert whole.isfinite().all()


def test_rotary_rounds_the_frequencies_before_the_angles() -> None:
    rotary = Rotary(16)
    keys = torch.ones(1, 500, 1, 16, dtype=torch.bfloat16)
    turned, _ = rotary(keys, keys, 0)
    frequencies = (1.0 / (10_000 ** (torch.arange(0, 16, 2) / 16))).bfloat16()
    angles = torch.arange(500.0)[:, None] * frequencies.float()
    cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
    expected = torch.cat([cos - sin, cos + sin], dim=-1)
    # A cosine, a sine and their sum may each be rounded to the neighbour.
    torch.testing.assert_close(turned[0, :, 0], expected, atol=2 * BFLOAT16, rtol=0)


def test_norms_compute_in_bfloat16_under_autocast(model: OpenLM) -> None:
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", torch.bfloat16):
        assert model.norm(x).dtype == torch.bfloat16
    plain = torch.nn.functional.layer_norm(x, (64,), eps=1e-5) * model.norm.weight
    bound = rounding(float(plain.abs().max()), 2 * 64)
    torch.testing.assert_close(model.norm(x), plain, atol=bound, rtol=0)


def test_qk_norm_spans_all_heads(model: OpenLM) -> None:
    attention = model.layers[0].attention
    queries = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(4))
    queries[..., :16] *= 10  # one loud head must quieten the others
    normed = attention.q_norm(queries) / attention.q_norm.weight
    variance = queries.double().var(correction=0).item()
    expected = math.sqrt(variance / (variance + SHAPE.norm_eps))
    bound = rounding(float(normed.abs().max()), 2 * 64)
    assert normed.double().std(correction=0).item() == pytest.approx(expected, abs=bound, rel=0)
    assert normed[..., 16:].std().item() < 0.5
