"""The frozen scales against DCLM's published numbers and against the model that is built."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest
import torch

from submissions.failures import Failure
from training_recipes.model import OpenLM
from training_recipes.scales import (
    FOLDER,
    ModelShape,
    Optimizer,
    Scale,
    load_scale,
    scale_names,
)

# DCLM's table of scales (parameters, without input embedding, tokens), and the steps and trained
# parameters that follow from open_lm's rules.
PUBLISHED = {
    "400m-1x": (411_616_256, 359_973_888, 8_232_325_120, 7_850, 411_665_408),
    "1b-1x": (1_439_795_200, 1_336_510_464, 28_795_904_000, 54_923, 1_439_893_504),
    "1b-5x": (1_439_795_200, 1_336_510_464, 143_979_520_000, 274_619, 1_439_893_504),
    "3b-1x": (2_795_932_160, 2_666_826_240, 55_918_643_200, 106_656, 2_796_096_000),
    "7b-1x": (6_889_410_560, 6_682_841_088, 137_788_211_200, 32_851, 6_889_672_704),
    "7b-2x": (6_889_410_560, 6_682_841_088, 275_576_422_400, 65_702, 6_889_672_704),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_those_that_dclm_published(name: str) -> None:
    document = load_scale(name).as_document()
    keys = ("params", "params_no_embedding", "tokens", "steps", "params_trained")
    assert tuple(document[key] for key in keys) == PUBLISHED[name]


# The runs `rw_original-d=…-1.0` of mlfoundations/scaling, commit a003c49: parameters, without input
# embedding, tokens, warm-up, global batch, gradient accumulation; and its shapes.
SCALING = {
    "11m-1x": (10_569_312, 5_727_840, 211_386_240, 100, 64, 1, "d=96_l=8_h=4"),
    "79m-1x": (78_914_048, 53_092_864, 1_578_280_960, 400, 512, 8, "d=512_l=8_h=4"),
    "154m-1x": (153_677_376, 124_628_544, 3_073_547_520, 400, 512, 8, "d=576_l=24_h=8"),
}


@pytest.mark.parametrize("name", SCALING)
def test_small_scales_are_those_of_scaling(name: str) -> None:
    scale = load_scale(name)
    shape, rule, run = scale.model, scale.optimizer, scale.open_lm
    found = (shape.params, shape.params_no_embedding, scale.tokens, rule.warmup, rule.global_batch,
             run.acc, run.model)  # fmt: skip
    assert found == SCALING[name]
    assert run.model == f"d={shape.dim}_l={shape.layers}_h={shape.heads}"
    assert run.fsdp_flags == ("--fsdp", "--fsdp-amp")


LADDER = ("11m-1x", "36m-1x", "79m-1x", "154m-1x")


@pytest.mark.parametrize("name", LADDER)
def test_the_ladder_leads_up_to_400m_1x(name: str) -> None:
    """What is neither size, batch nor warm-up is that of 400m-1x, as Gadre et al. trained them."""
    scale, top = load_scale(name), load_scale("400m-1x")
    free = {"warmup": top.optimizer.warmup, "global_batch": top.optimizer.global_batch}
    assert replace(scale.optimizer, **free) == top.optimizer
    size = {part: getattr(top.model, part) for part in ("dim", "layers", "heads")}
    assert replace(scale.model, **size) == top.model
    rest = ("tokens_per_parameter", "multiplier", "checkpoints", "max_epochs", "precision", "seed",
            "tokenizer")  # fmt: skip
    assert [getattr(scale, part) for part in rest] == [getattr(top, part) for part in rest]
    assert scale.optimizer.warmup < scale.steps / 3


@pytest.mark.parametrize("name", LADDER)
def test_a_twin_differs_in_its_rates_alone(name: str) -> None:
    scale = load_scale(name)
    twin = load_scale(name.replace("-1x", "-lowlr"))
    assert (twin.optimizer.lr, twin.optimizer.cooldown) == (1e-5, 1e-6)
    rates = {"lr": scale.optimizer.lr, "cooldown": scale.optimizer.cooldown}
    assert replace(twin, name=name, optimizer=replace(twin.optimizer, **rates)) == scale


@pytest.mark.parametrize("name", scale_names())
def test_a_small_dataset_fills_open_lms_workers(name: str) -> None:
    """Two workers on each of eight GPUs, or of one CPU, want a shard for each checkpoint."""
    scale = load_scale(name)
    workers = 2 if scale.bundled else 16
    assert scale.rows / scale.rows_per_shard > scale.checkpoints * workers


def test_a_name_may_be_written_as_dclm_does() -> None:
    for spelling in ("400M-1x", "400m-1X", "400m-1x"):
        assert load_scale(spelling) is load_scale("400m-1x")


@pytest.mark.parametrize("name", scale_names())
def test_formula_counts_what_the_built_model_has(name: str) -> None:
    shape = load_scale(name).model
    with torch.device("meta"):
        model = OpenLM(shape)
    assert sum(p.numel() for p in model.parameters()) == shape.params_trained
    without_gains = [
        p for n, p in model.named_parameters() if ".q_norm" not in n and ".k_norm" not in n
    ]
    assert sum(p.numel() for p in without_gains) == shape.params
    assert shape.params - model.tok_embeddings.weight.numel() == shape.params_no_embedding
    assert model.layers[0].feed_forward.w3.in_features == shape.ffn_hidden


# DCLM's configurations: ffn_type (open_lm's default where the model JSON has none), the name of the
# model JSON, gradient accumulation, and what the FSDP flags add to --fsdp and
# --fsdp-limit-all-gathers.
AMP, PURE, ORIGINAL = "--fsdp-amp", "--fsdp-pure-bf16", "--fsdp-use-orig-params"
CONFIGURED = {
    "400m-1x": ("swiglu", "d=1024_l=24_h=8", 8, {AMP}),
    "1b-1x": ("swiglu_torch", "open_lm_1b_swiglutorch", 1, {AMP, ORIGINAL}),
    "1b-5x": ("swiglu_torch", "open_lm_1b_swiglutorch", 1, {AMP, ORIGINAL}),
    "3b-1x": ("swiglu_torch", "open_lm_3b_swiglutorch", 1, {PURE, ORIGINAL}),
    "7b-1x": ("swiglu_torch", "open_lm_7b_swiglutorch", 2, {PURE, ORIGINAL}),
    "7b-2x": ("swiglu_torch", "open_lm_7b_swiglutorch", 2, {PURE, ORIGINAL}),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_runs_are_as_dclm_configures_them(name: str) -> None:
    scale = load_scale(name)
    run, common = scale.open_lm, {"--fsdp", "--fsdp-limit-all-gathers"}
    assert common < set(run.fsdp_flags)
    found = (scale.model.ffn_type, run.model, run.acc, set(run.fsdp_flags) - common)
    assert found == CONFIGURED[name]
    assert (scale.max_epochs, scale.rows_per_shard) == (4, 8192)


@pytest.mark.parametrize(
    ("name", "printed"),
    [("400m-1x", 2.0e19), ("3b-1x", 9.4e20), ("7b-1x", 5.7e21), ("7b-2x", 1.1e22)],
)
def test_flops_round_to_the_printed_ones(name: str, printed: float) -> None:
    assert float(f"{load_scale(name).flops:.1e}") == printed


def test_7b_2x_is_7b_1x_with_the_tokens_doubled_once() -> None:
    once, twice = load_scale("7b-1x"), load_scale("7b-2x")
    assert replace(twice, name=once.name, multiplier=1) == once
    assert twice.tokens == 2 * once.tokens
    assert load_scale("7b-2x").tokens == twice.tokens  # also when it is loaded again


def test_smoke_is_small_and_its_warm_up_fits() -> None:
    smoke = load_scale("smoke")
    assert 1_000_000 <= smoke.model.params_trained <= 3_000_000
    assert smoke.optimizer.warmup < smoke.steps / 4
    assert smoke.tokens_needed == smoke.rows * (smoke.model.seq_len + 1)


def test_cpu_300k_is_a_third_of_smoke() -> None:
    scale = load_scale("cpu-300k")
    assert (scale.model.params, scale.steps, scale.tokens) == (319_648, 623, 639_296)
    assert scale.bundled
    assert scale.tokenizer == load_scale("smoke").tokenizer


def test_an_unknown_scale_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Failure, match="400m-1x") as caught:
        load_scale("../smoke")
    assert caught.value.code == "unknown_scale"


def test_every_number_of_the_recipe_changes_its_hash() -> None:
    smoke = load_scale("smoke")
    others = [
        replace(smoke, seed=1),
        replace(smoke, optimizer=replace(smoke.optimizer, z_loss=0.0)),
        replace(smoke, model=replace(smoke.model, layers=5)),
        replace(smoke, tokenizer="EleutherAI/gpt-neox-20b"),
        replace(smoke, max_epochs=5),
        replace(smoke, open_lm=replace(smoke.open_lm, fsdp_flags=("--fsdp-pure-bf16",))),
    ]
    assert len({scale.recipe_sha256 for scale in [smoke, *others]}) == 7


def test_a_frozen_scale_changes_only_under_a_new_version() -> None:
    """The lock holds every version's hash for good: scores name them."""
    lock = json.loads((FOLDER.parent / "scales.lock.json").read_text())
    assert set(lock) == set(scale_names())
    for name, versions in lock.items():
        scale = load_scale(name)
        assert list(versions) == [str(number) for number in range(1, scale.version + 1)]
        assert versions[str(scale.version)] == scale.recipe_sha256, (
            f"{name} has changed: give it a new version and add that to scales.lock.json"
        )


@pytest.mark.parametrize("name", scale_names())
def test_a_file_can_be_written_in_one_way_only(name: str) -> None:
    """So that no byte of it can change without its values, which the lock holds."""
    text = (FOLDER / f"{name}.json").read_text()
    content = json.loads(text)
    assert text == json.dumps(content, indent=2) + "\n"
    parts = [(Scale, content), (ModelShape, content["model"]), (Optimizer, content["optimizer"])]
    for kind, part in parts:
        assert list(part) == [field.name for field in fields(kind) if field.name in part]


def test_scales_are_read_without_torch() -> None:
    code = (
        "import sys; from training_recipes.scales import load_scale; "
        "load_scale('smoke').as_document(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
