"""Models of transformers: both engines' answers, and what a hostile folder may not do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from evaluation import hf_model
from evaluation.audit import TOLERANCE, answer, differences, question
from evaluation.engines import load_engine, load_reference, model_sha256
from evaluation.evaluate import evaluate_model
from evaluation.hf_folder import view_of_model, view_of_tokenizer
from evaluation.native.engine import NativeEngine
from evaluation.native.hf_scoring import HuggingFaceScorer
from evaluation.suite import Suite, task_path
from submissions.failures import Failure
from training_recipes.tokenizer import END_OF_TEXT, tokenizer_folder

BEGIN, END, PAD = "<begin>", "<end>", "<pad>"
LENGTH = 96  # tokens that the models read, fewer than the suite allows
CHOICES = [" blue", " green and then red", " a", " blue"]
TASKS: dict[str, dict[str, Any]] = {
    "choices": {
        "type": "multiple_choice", "shots": 2,
        "rows": [{"query": f"The thing number {n} of the list has a colour: it is surely",
                  "choices": CHOICES[n % 4 :] + CHOICES[: n % 4], "gold": n % 2}
                 for n in range(5)],
    },
    "too_long": {
        "type": "multiple_choice", "shots": 4,
        "rows": [{"query": f"a rather long question {n} " * 8, "choices": [" yes", " no, not so"],
                  "gold": 1} for n in range(3)],
    },
    "special_inside": {
        "type": "multiple_choice",
        "rows": [{"query": f"before{PAD}then{END_OF_TEXT}it", "choices": ["x", " y z"], "gold": 0}],
    },
    "places": {
        "type": "schema", "shots": 1,
        "rows": [{"context_options": ["The box did not fit the case because the case",
                                      "The box did not fit the case because the box"],
                  "continuation": f"was number {n}", "gold": n % 2} for n in range(3)],
    },
    "words": {
        "type": "language_modeling", "shots": 1,
        "rows": [{"context": f"One, two, three {n}", "continuation": "and five"} for n in range(3)],
    },
    "writing": {
        "type": "generation_task_with_answers", "shots": 1, "cot_delimiter": " so ",
        "early_stopping_criteria": ["\n\n", "e"],
        "rows": [{"context": f"What is {n}?", "answer": "four words", "aliases": ["4"],
                  "chain_of_thought": "It is" + " known" * n} for n in range(4)],
    },
}  # fmt: skip


def write_tokenizer(folder: Path) -> None:
    """Ours with other special tokens; it puts one before every text that may have any."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_file(str(tokenizer_folder("smoke") / "tokenizer.json"))
    tokenizer.add_special_tokens([BEGIN, END, PAD])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, pad_token=PAD
    ).save_pretrained(folder)


def save(model: Any, folder: Path) -> Path:
    """Saves a model whose answers differ much from one another."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= 3
    # Settings for sampling, which an evaluation does not follow.
    model.generation_config.do_sample, model.generation_config.temperature = True, 5.0
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tied weights, fewer key heads, more rows than ids, and a token at the beginning of texts."""
    torch.manual_seed(5)
    config = LlamaConfig(vocab_size=4128, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
                         max_position_embeddings=LENGTH)  # fmt: skip
    folder = save(LlamaForCausalLM(config), tmp_path_factory.mktemp("llama"))
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def neox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the tokenizer of our own scale, in which the end of a text is the padding too."""
    torch.manual_seed(6)
    config = GPTNeoXConfig(vocab_size=4096, hidden_size=32, intermediate_size=48,
                           num_hidden_layers=2, num_attention_heads=4,
                           max_position_embeddings=LENGTH)  # fmt: skip
    folder = save(GPTNeoXForCausalLM(config), tmp_path_factory.mktemp("neox"))
    for path in tokenizer_folder("smoke").glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def suite(made_suite: Callable[..., Suite]) -> Suite:
    return made_suite(256, **TASKS)


def native_of(folder: Path) -> NativeEngine:
    engine = load_engine("native", folder)
    assert isinstance(engine, NativeEngine)
    return engine


@pytest.mark.parametrize("name", ["llama", "neox"])
def test_every_answer_is_llm_foundrys(
    name: str, suite: Suite, ask: Any, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    engine, reference = native_of(folder), load_reference(folder)
    assert isinstance(engine.scorer, HuggingFaceScorer)
    assert engine.scorer.shares
    mine = ask(engine, suite)
    for task in suite.tasks:
        assert engine.row_length(suite, task) == reference.row_length(suite, task) == LENGTH
        theirs = reference.evaluate_task(suite, task, task_path(suite, task, None), None, len_of)
        for one, other in zip(mine[task.label], theirs, strict=True):
            assert question(one) == question(other)
            assert answer(task, one) == answer(task, other), (one, other)
            assert max(differences(one, other)) <= TOLERANCE
    chosen = {example.prediction for example in mine["choices"]}
    assert len(chosen) > 1
    assert all(example.generated for example in mine["writing"])


def len_of(_count: int) -> None:
    """Hears of answers and does nothing."""


def test_no_answer_depends_on_batches_or_on_shared_prompts(
    llama: Path, suite: Suite, ask: Any
) -> None:
    together = ask(native_of(llama), suite)
    alone = native_of(llama)
    alone.budget, alone.scorer.shares = 1, False  # type: ignore[attr-defined]
    for label, examples in ask(alone, suite).items():
        for one, other in zip(examples, together[label], strict=True):
            assert (one.prediction, one.generated) == (other.prediction, other.generated)
            assert max(differences(one, other)) <= TOLERANCE


def test_a_model_that_counts_padding_shares_no_prompt(
    llama: Path, monkeypatch: pytest.MonkeyPatch, suite: Suite, ask: Any
) -> None:
    expected = ask(native_of(llama), suite)["choices"]
    right = HuggingFaceScorer._positions
    monkeypatch.setattr(
        HuggingFaceScorer, "_positions", lambda self, first, width: right(self, 2 * first, width)
    )
    engine = native_of(llama)
    assert not engine.scorer.shares  # type: ignore[attr-defined]
    for one, other in zip(ask(engine, suite)["choices"], expected, strict=True):
        assert max(differences(one, other)) <= TOLERANCE


def test_an_evaluation_names_the_model_by_its_files(llama: Path, tmp_path: Path) -> None:
    document = evaluate_model(
        llama, "smoke", tmp_path, labels=["smoke_article"], limit=2, reference_answers=True
    )
    assert document["model_sha256"] == model_sha256(llama)
    assert document["tasks"]["smoke_article"]["n"] == 2
    assert len(document["tokenizer_sha256"]) == 64


@pytest.fixture
def copy(neox: Path, tmp_path: Path) -> Path:
    """A folder of one's own, to spoil."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in neox.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def change(path: Path, **keys: Any) -> None:
    document = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(document | keys))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_hidden_layers": 10**9}, "above 100,000"),
        ({"num_hidden_layers": 90_000}, "larger model than"),
        ({"hidden_size": 2**26, "intermediate_size": 2**30}, "larger model than"),
        ({"model_type": "unheard_of"}, "transformers cannot read"),
        ({"model_type": 5}, "names no model_type"),
        ({"model_type": "t5"}, "transformers cannot read|no causal language model"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"intermediate_size": 64}, "transformers cannot read|lack"),
        ({"num_hidden_layers": 3}, "lack gpt_neox.layers.2"),
    ],
)
def test_a_configuration_that_lies_is_refused(copy: Path, keys: dict[str, Any], said: str) -> None:
    change(copy / "config.json", **keys)
    with pytest.raises(Failure, match=said) as raised:
        load_engine("native", copy)
    assert raised.value.code == "model_invalid"


def test_no_code_and_no_pickle_of_the_folder_is_read(copy: Path) -> None:
    marker = copy / "ran"
    (copy / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    change(copy / "config.json", auto_map={"AutoModelForCausalLM": "evil.Evil",
                                           "AutoConfig": "evil.Evil"})  # fmt: skip
    change(copy / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})
    change(copy / "adapter_config.json", base_model_name_or_path="/nowhere", peft_type="LORA")
    native_of(copy)
    assert not marker.exists()
    with view_of_model(copy) as view:
        assert {path.name for path in view.iterdir()} == {"config.json", "model.safetensors"}
    with view_of_tokenizer(copy) as view:
        assert not list(view.glob("*.py"))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(Failure, match=r"pytorch_model.bin may hold code"):
        load_engine("native", copy)


@pytest.mark.parametrize("place", ["../../secret.safetensors", "/etc/passwd", "a.bin"])
def test_an_index_names_only_safetensors_beside_it(copy: Path, place: str) -> None:
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": place}}))
    with pytest.raises(Failure, match="no safetensors file beside it"):
        model_sha256(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_damaged_and_endless_files_are_refused(copy: Path, name: str) -> None:
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Failure) as raised:
        load_engine("native", copy)
    assert raised.value.code == "model_invalid"
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(Failure, match="is no file"):
        load_engine("native", copy)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(copy: Path) -> None:
    write_tokenizer(copy)
    with pytest.raises(Failure, match="4099 ids, the model a vocabulary of 4096"):
        load_engine("native", copy)


def test_nan_is_said_with_the_example(copy: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["gpt_neox.final_layer_norm.weight"] *= torch.nan
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    for label in ("smoke_article", "smoke_last_item_cot"):
        for engine in ("native", "llm-foundry"):
            with pytest.raises(Failure, match=f"{label}, example 0") as raised:
                evaluate_model(copy, "smoke", tmp_path / engine, labels=[label], limit=1,
                               engine_name=engine)  # fmt: skip
            assert raised.value.code == "not_a_number"


def test_transformers_is_told_to_stay_at_home() -> None:
    assert hf_model.os.environ["HF_HUB_OFFLINE"] == "1"
