"""The subcommands `check`, `recipe`, `tokenize` and `train`, and the two stages, end to end."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from submissions.cli import Commands
from submissions.codec import encode
from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256, folder_sha256
from submissions.job import run_stage
from training_recipes import (
    dataset_commands,
    recipe_commands,
    tokenize,
    train,
    train_commands,
)
from training_recipes.hardware import Hardware
from training_recipes.scales import Scale, scale_names


@pytest.fixture
def brief_everywhere(monkeypatch: pytest.MonkeyPatch, brief: Scale) -> None:
    """Every scale that is asked for by name is the brief one."""
    for module in (dataset_commands, train_commands, tokenize, train):
        monkeypatch.setattr(module, "load_scale", lambda name: brief)


def run(*arguments: object) -> tuple[dict[str, Any], str]:
    """The document of a subcommand, as JSON would carry it, and its rendering."""
    parser = argparse.ArgumentParser()
    commands = Commands(parser.add_subparsers(required=True))
    for module in (dataset_commands, recipe_commands, train_commands):
        module.register(commands)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    document = json.loads(encode(parsed.run(parsed)))
    return document, parsed.render(document)


def test_recipe_list_has_every_scale() -> None:
    document, text = run("recipe", "list")
    names = [scale["scale"] for scale in document["scales"]]
    assert names == list(scale_names())
    assert {scale["purpose"]["use"] for scale in document["scales"]} == {
        "trying out", "pre-selection", "decision"
    }  # fmt: skip
    assert "275,576,422,400" in text.splitlines()[-1]


def test_recipe_show_has_every_key_that_is_promised() -> None:
    document, text = run("recipe", "show", "7b-2x")
    promised = {"scale", "params", "params_trained", "params_no_embedding", "tokens", "flops",
                "steps", "model", "optimizer", "seed", "tokenizer", "hash"}  # fmt: skip
    assert promised <= set(document)
    shape = {"dim": 4096, "layers": 32, "heads": 32, "ffn_hidden": 11008, "seq_len": 2048,
             "vocab": 50432, "qk_norm": True}  # fmt: skip
    assert shape.items() <= document["model"].items()
    optimizer = {"lr": 2e-3, "weight_decay": 0.05, "warmup": 5000, "cooldown": 3e-5,
                 "beta2": 0.95, "grad_clip": 1.0, "global_batch": 2048, "z_loss": 5e-6}  # fmt: skip
    assert optimizer.items() <= document["optimizer"].items()
    assert "6,889,672,704" in text
    assert set(document["choices"]) == {"seed"} | {f.name for f in fields(Hardware)}
    assert document["open_lm"]["fsdp_flags"][-1] == "--fsdp-use-orig-params"


@pytest.mark.parametrize(
    ("name", "use", "told"),
    [("cpu-300k", "trying out", "nothing"), ("79m-1x", "pre-selection", "80 %"),
     ("79m-lowlr", "pre-selection", "an order of 79m-1x"), ("400m-1x", "decision", "84 %")],
)  # fmt: skip
def test_recipe_show_says_what_a_scale_is_good_for(name: str, use: str, told: str) -> None:
    document, text = run("recipe", "show", name)
    assert document["purpose"]["use"] == use
    assert told in document["purpose"]["predicts"]
    assert use in text


def test_dclms_spelling_names_the_same_scale() -> None:
    for command in (["recipe", "show"], ["recipe", "cost"]):
        document, _ = run(*command, "7B-2x")
        assert document == run(*command, "7b-2x")[0]
        assert document["scale"] == "7b-2x"


def test_recipe_cost_says_what_it_rests_on() -> None:
    document, text = run("recipe", "cost", "1b-1x", "--gpu", "h100", "--count", 8)
    assert document["train"]["device_hours"] == pytest.approx(240)
    assert document["train"]["hours"] == pytest.approx(30)
    assert set(document["evaluate"]) == {"llm-foundry", "native"}
    assert {"flops", "flops_with_attention", "mfu", "tokenise_cpu_hours"} <= set(document)
    assert document["storage"]["total"] > 1e11
    assert "30 h on 8 x h100" in text
    assert "not been measured" in text
    document, text = run("recipe", "cost", "smoke")
    assert document["mfu"] is None
    assert "4 min on 1 x cpu" in text


def test_check_uses_the_scales_own_numbers(dataset: Path) -> None:
    document, text = run("check", dataset, "--track", "filtering", "--scale", "smoke")
    assert not document["ok"]
    assert [problem["code"] for problem in document["problems"]] == ["dataset_too_small"]
    assert text.endswith("not ready: correct this and check again")


@pytest.mark.parametrize(
    ("path", "track", "scale", "code"),
    [
        ("", "filtering", "huge", "unknown_scale"),
        ("", "guessing", "smoke", "unknown_track"),
        ("nowhere", "filtering", "smoke", "dataset_missing"),
    ],
)
def test_whatever_is_wrong_with_a_check_is_a_problem_of_its_report(
    dataset: Path, path: str, track: str, scale: str, code: str
) -> None:
    document, text = run("check", dataset / path, "--track", track, "--scale", scale)
    assert not document["ok"]
    assert [problem["code"] for problem in document["problems"]] == [code]
    assert document["problems"][0]["message"] in text


@pytest.mark.usefixtures("brief_everywhere")
def test_tokenize_and_train(tmp_path: Path, dataset: Path, brief: Scale) -> None:
    rows, model = tmp_path / "rows", tmp_path / "model"
    document, text = run("tokenize", "--scale", "smoke", "--input", dataset, "--output", rows)
    assert {"sequences", "tokens", "shards", "manifest", "seconds"} <= set(document)
    assert Path(document["manifest"]).is_file()
    assert "1,600 documents" in text
    document, text = run("train", "--scale", "smoke", "--data", rows, "--output", model)
    assert {"steps", "tokens", "loss", "checkpoint", "seconds", "mfu"} <= set(document)
    assert Path(document["checkpoint"]).is_file()
    assert text.startswith(f"loss {document['loss']:.4f} after {brief.steps} steps")
    with pytest.raises(Failure, match="already holds a run"):
        run("train", "--scale", "smoke", "--data", rows, "--output", model)
    again, _ = run("train", "--scale", "smoke", "--data", rows, "--output", model, "--resume")
    assert again == document


def job_directory(
    root: Path,
    stage: str,
    inputs: dict[str, dict[str, str]],
    parameters: dict[str, Any],
    recipe: str,
) -> Path:
    directory = root / stage
    directory.mkdir()
    (root / f"{stage}-output").mkdir()
    content = {
        "key": f"1-{stage}-a1", "stage": stage, "inputs": inputs, "parameters": parameters,
        "output": (root / f"{stage}-output").as_uri(),
        "hashes": {"recipe": recipe},
    }  # fmt: skip
    (directory / "job.json").write_text(json.dumps(content))
    return directory


@pytest.mark.usefixtures("brief_everywhere")
def test_the_stages_hand_on_what_they_made(tmp_path: Path, dataset: Path, brief: Scale) -> None:
    sha256 = combined_sha256(file_sha256(path) for path in dataset.iterdir())
    parameters = {"scale": "smoke", "seed": 7}
    inputs = {"dataset": {"uri": dataset.as_uri(), "sha256": sha256}}
    job = job_directory(tmp_path, "tokenize", inputs, parameters, brief.recipe_sha256)
    assert run_stage(tokenize.stage, [str(job)]) == 0
    tokenised = json.loads((job / "result.json").read_text())
    parameters |= {"engine": "composer"}
    job = job_directory(tmp_path, "train", tokenised["outputs"], parameters, brief.recipe_sha256)
    assert run_stage(train.stage, [str(job)]) == 0
    result = json.loads((job / "result.json").read_text())
    assert (result["figures"]["steps"], result["figures"]["seed"]) == (brief.steps, 7)
    model = tmp_path / "train-output" / "model"
    assert result["outputs"]["model"] == {"uri": model.as_uri(), "sha256": folder_sha256(model)}
    last = json.loads((job / "progress.jsonl").read_text().splitlines()[-1])
    assert (last["step"], last["of"], last["unit"]) == (brief.steps, brief.steps, "steps")
    assert {"loss", "tokens_per_second", "eta_seconds"} <= set(last["metrics"])


@pytest.mark.usefixtures("brief_everywhere")
@pytest.mark.parametrize("stage", [tokenize.stage, train.stage])
def test_a_stage_refuses_input_that_is_not_what_was_promised(
    tmp_path: Path, dataset: Path, tokens: Path, brief: Scale, stage: Any
) -> None:
    inputs = {
        "dataset": {"uri": dataset.as_uri(), "sha256": "0" * 64},
        "tokens": {"uri": tokens.as_uri(), "sha256": "0" * 64},
    }
    job = job_directory(tmp_path, "stage", inputs, {"scale": "smoke"}, brief.recipe_sha256)
    assert run_stage(stage, [str(job)]) == 3
    assert json.loads((job / "failure.json").read_text())["code"] == "artifact_corrupt"


@pytest.mark.usefixtures("brief_everywhere")
@pytest.mark.parametrize("stage", [tokenize.stage, train.stage])
@pytest.mark.parametrize("recipe", ["0" * 64, ""])
def test_a_stage_refuses_to_work_by_another_recipe(
    tmp_path: Path, dataset: Path, tokens: Path, brief: Scale, stage: Any, recipe: str
) -> None:
    """A machine with another release than the site has must not make a score under its name."""
    inputs = {
        "dataset": {"uri": dataset.as_uri(), "sha256": ""},
        "tokens": {"uri": tokens.as_uri(), "sha256": ""},
    }
    job = job_directory(tmp_path, "stage", inputs, {"scale": "smoke"}, recipe)
    assert run_stage(stage, [str(job)]) == 3
    failure = json.loads((job / "failure.json").read_text())
    assert (failure["code"], failure["fault"]) == ("recipe_changed", "infrastructure")
    assert brief.recipe_sha256[:12] in failure["message"]
    assert not any((tmp_path / "stage-output").iterdir())
