"""The Hugging Face export against our own model, as plain `transformers` loads it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from submissions.failures import Failure
from tests.rounding import openlm_operations, rounding
from training_recipes import safetensors_file
from training_recipes.export_hf import centred_columns, centred_rows, export_model
from training_recipes.model import OpenLM
from training_recipes.model_dir import load_model_dir, save_model_dir
from training_recipes.results import TrainResult
from training_recipes.scales import Scale
from training_recipes.tokenizer import tokenizer_folder

PROMPTS = ["the data model", "token", "a list of values in the text file is"]

# A stranger's process: it has transformers and cannot import anything of ours.
STRANGER = """
import sys
for name in ("training_recipes", "submissions", "evaluation"):
    sys.modules[name] = None
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, output, prompts = sys.argv[1], sys.argv[2], sys.argv[3:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
batch = tokenizer(prompts, padding=True, return_tensors="pt", return_token_type_ids=False)
with torch.no_grad():
    alone = [model(tokenizer(p, return_tensors="pt").input_ids).logits[0] for p in prompts]
    padded = model(**batch).logits
    written = model.generate(**batch, max_new_tokens=12, do_sample=False)
torch.save({"class": type(model).__name__, "told": {k: list(map(str, v)) for k, v in told.items()},
            "batch": dict(batch), "alone": alone, "padded": padded, "written": written}, output)
"""


@pytest.fixture(scope="module")
def shaken(tmp_path_factory: pytest.TempPathFactory, trained: tuple[Path, TrainResult]) -> Path:
    """The trained model with means and gains that a careless export would get wrong."""
    model = load_model_dir(trained[0])
    generator = torch.Generator().manual_seed(7)
    for name, weight in model.named_parameters():
        shift = 0.3 * torch.rand(weight.shape[-1], generator=generator)
        weight += shift if "norm" in name else shift * weight.std()
        if name.endswith(("out_proj.weight", "w3.weight", "in_proj.weight")):
            weight += 0.3 * weight.std() * torch.rand(weight.shape[0], 1, generator=generator)
    folder = tmp_path_factory.mktemp("shaken") / "model"
    save_model_dir(folder, model, tokenizer_folder("smoke"))
    return folder


def as_a_stranger(folder: Path, output: Path) -> dict[str, Any]:
    subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, str(folder), str(output), *PROMPTS],
        check=True, capture_output=True, text=True, cwd=output.parent,
    )  # fmt: skip
    found: dict[str, Any] = torch.load(output, weights_only=True)
    return found


def greedy(model: OpenLM, ids: Tensor, count: int) -> list[int]:
    for _ in range(count):
        logits = model(ids)[:, -1]
        best, second = logits[0].topk(2).values.tolist()
        assert best - second > 2 * rounding_of(model, logits, ids.shape[1])  # or rounding chooses
        ids = torch.cat((ids, logits.argmax(dim=-1, keepdim=True)), dim=1)
    return ids[0].tolist()


def rounding_of(model: OpenLM, logits: Tensor, length: int) -> float:
    """How far the logits of two float32 computations may be apart."""
    return rounding(float(logits.abs().max()), openlm_operations(model.shape, length))


def test_transformers_computes_the_same(tmp_path: Path, shaken: Path) -> None:
    document = export_model(shaken, tmp_path / "hf")
    assert document["architecture"] == "OlmoeForCausalLM"
    assert document["bytes"] > 4 * document["params"]
    found = as_a_stranger(tmp_path / "hf", tmp_path / "found.pt")
    assert found["class"] == "OlmoeForCausalLM"
    assert not any(found["told"].values())  # nothing missing, surplus or of another shape
    ours = load_model_dir(shaken)
    ids, mask = found["batch"]["input_ids"], found["batch"]["attention_mask"]
    assert mask[1].tolist()[0] == 0  # padded on the left
    for row, alone in enumerate(found["alone"]):
        real = ids[row][mask[row].bool()][None]
        expected = ours(real)[0]
        bound = rounding_of(ours, expected, mask.shape[1])
        torch.testing.assert_close(alone, expected, atol=bound, rtol=0)
        padded = found["padded"][row][-len(alone) :]
        torch.testing.assert_close(padded, expected, atol=bound, rtol=0)
        written = found["written"][row][mask.shape[1] - real.shape[1] :]
        assert written.tolist() == greedy(ours, real, 12)


def loaded_in_transformers(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def gap_in_roundings(model_dir: Path, exported: Path) -> float:
    """The largest gap between two models' logits, in units of what rounding may make of them."""
    ids = torch.randint(4096, (2, 32), generator=torch.Generator().manual_seed(1))
    model = load_model_dir(model_dir)
    ours = model(ids)
    with torch.no_grad():
        theirs = loaded_in_transformers(exported)(ids).logits
    return float((theirs - ours).abs().max()) / rounding_of(model, ours, ids.shape[1])


def test_frequencies_that_fsdp_has_rounded_are_kept(tmp_path: Path, shaken: Path) -> None:
    model = load_model_dir(shaken)
    for layer in model.layers:
        rotary = layer.attention.pos_embed
        rotary.inv_freq = (rotary.inv_freq * 1.003).bfloat16().float()
    save_model_dir(tmp_path / "model", model, tokenizer_folder("smoke"))
    export_model(tmp_path / "model", tmp_path / "hf")
    assert gap_in_roundings(tmp_path / "model", tmp_path / "hf") <= 1
    assert gap_in_roundings(shaken, tmp_path / "hf") > 2  # so it was not for nothing
    model.layers[0].attention.pos_embed.inv_freq *= 2
    save_model_dir(tmp_path / "uneven", model, tokenizer_folder("smoke"))
    with pytest.raises(Failure, match="rotary") as caught:
        export_model(tmp_path / "uneven", tmp_path / "never")
    assert caught.value.code == "model_invalid"
    assert not (tmp_path / "never").exists()


def test_without_qk_norm_it_is_a_llama(tmp_path: Path, tiny: Scale) -> None:
    from dataclasses import replace

    torch.manual_seed(3)
    model = OpenLM(replace(tiny.model, qk_norm=False)).eval().requires_grad_(False)
    save_model_dir(tmp_path / "model", model, tokenizer_folder("smoke"))
    assert export_model(tmp_path / "model", tmp_path / "hf")["architecture"] == "LlamaForCausalLM"
    assert gap_in_roundings(tmp_path / "model", tmp_path / "hf") <= 1


def test_large_models_are_cut_into_shards(
    tmp_path: Path, shaken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors_file, "MAX_SHARD_BYTES", 100_000)
    document = export_model(shaken, tmp_path / "hf")
    weights = document["weights"]
    assert weights[0] == f"model-00001-of-{len(weights):05d}.safetensors"
    assert len(weights) == 3  # the two embeddings have a shard each, the layers share one
    index = json.loads((tmp_path / "hf" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(weights)
    assert gap_in_roundings(shaken, tmp_path / "hf") <= 1


def test_it_says_what_it_is(tmp_path: Path, trained: tuple[Path, TrainResult]) -> None:
    export_model(trained[0], tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text()
    assert f"| Weights as trained, SHA-256 | {trained[1].weights_sha256} |" in card
    assert 'from_pretrained("hf")' in card
    tokenizer = json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text())
    assert (tokenizer["pad_token"], tokenizer["model_max_length"]) == ("<|endoftext|>", 32)
    with pytest.raises(Failure, match="already holds files") as caught:
        export_model(trained[0], tmp_path / "hf")
    assert caught.value.code == "output_exists"


def test_centring_is_exact_over_more_than_a_slab() -> None:
    matrix = torch.randn(9_000, 3, generator=torch.Generator().manual_seed(1)) + 5
    exact = matrix.double()
    columns, rows = centred_columns(matrix), centred_rows(matrix)
    # Computed in float64 and rounded once: half a unit, which a mean over a column averages out.
    once = rounding(float((exact - 5).abs().max()), 1)
    for found, dim, sum_of in ((columns, 0, 9_000), (rows, 1, 3)):
        expected = exact - exact.mean(dim=dim, keepdim=True)
        torch.testing.assert_close(found.double(), expected, atol=once, rtol=0)
        assert found.double().mean(dim=dim).abs().max() <= once / math.sqrt(sum_of)
