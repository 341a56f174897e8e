"""The reference engine on a tiny random model: LLM Foundry's answers, our records of them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from evaluation.evaluate import evaluate_model, load_engine
from evaluation.examples import Example
from evaluation.llm_foundry import LLMFoundryEngine
from evaluation.suite import load_suite
from evaluation.task_file import check_task_file
from submissions.failures import Failure
from tests.rounding import openlm_operations, rounding, rounding_a_token
from training_recipes.model import OpenLM
from training_recipes.model_dir import load_model_dir
from training_recipes.scales import ModelShape

LIMIT = 4
SUITE = load_suite("smoke")
SHAPE = ModelShape(32, 1, 2, 256, 4096, True)  # of the model `tiny_model`


@pytest.fixture(scope="module")
def evaluated(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the whole smoke suite, four rows of each task (of each category)."""
    output = tmp_path_factory.mktemp("evaluated")
    evaluate_model(tiny_model, "smoke", output, limit=LIMIT, engine_name="llm-foundry")
    return output


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> LLMFoundryEngine:
    engine = load_engine("llm-foundry", tiny_model)
    assert isinstance(engine, LLMFoundryEngine)
    return engine


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> OpenLM:
    return load_model_dir(tiny_model)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(str(tiny_model / "tokenizer"))


def ask(engine: LLMFoundryEngine, label: str, limit: int | None) -> list[Example]:
    (task,) = SUITE.choose([label])
    path = check_task_file(SUITE, task, None)
    return engine.evaluate_task(SUITE, task, path, limit, lambda count: None)


def records_of(folder: Path, label: str) -> list[dict[str, Any]]:
    lines = (folder / "examples.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["task"] == label]


def rows_of(label: str) -> list[dict[str, Any]]:
    (task,) = SUITE.choose([label])
    return [json.loads(line) for line in check_task_file(SUITE, task, None).open()]


def test_every_task_has_a_result_and_records_that_agree(evaluated: Path) -> None:
    results = json.loads((evaluated / "results.json").read_text())
    assert results["engine"] == "llm-foundry"
    assert results["suite_hash"] == SUITE.hash
    assert results["limit"] == LIMIT
    assert list(results["tasks"]) == [task.label for task in SUITE.tasks]
    for label, result in results["tasks"].items():
        records = records_of(evaluated, label)
        assert result["n"] == len(records)
        assert {"score", "n", "stderr", "seconds"} <= set(result)
        if label == "smoke_grammar":
            assert len(records) == LIMIT * len(result["categories"]) == LIMIT * 5
        else:
            assert len(records) == LIMIT
            correct = sum(record["correct"] for record in records)
            assert result["score"] == pytest.approx(correct / LIMIT)


def test_the_records_have_exactly_the_promised_keys(evaluated: Path) -> None:
    keys = {"task", "index", "category", "correct", "prediction", "gold"}
    for record in records_of(evaluated, "smoke_article"):
        assert set(record) == keys | {"option_logprobs", "option_tokens"}
        assert record["correct"] == (record["prediction"] == record["gold"])
        means = [
            total / tokens
            for total, tokens in zip(
                record["option_logprobs"], record["option_tokens"], strict=True
            )
        ]
        assert record["prediction"] == means.index(max(means))
    for record in records_of(evaluated, "smoke_completion"):
        assert set(record) == keys | {"generated"}


def test_categories_keep_the_numbers_of_the_files_rows(evaluated: Path) -> None:
    rows = rows_of("smoke_grammar")
    records = records_of(evaluated, "smoke_grammar")
    assert all(rows[r["index"]]["category"] == r["category"] for r in records)
    assert all(rows[r["index"]]["gold"] == r["gold"] for r in records)
    first = [i for i, row in enumerate(rows) if row["category"] == "modal"][:LIMIT]
    assert [r["index"] for r in records if r["category"] == "modal"] == first


def near(record: dict[str, Any], expected: list[float]) -> Any:
    """These log-probabilities, but for rounding."""
    bound = rounding_a_token(Example(**record), SHAPE) * max(record["option_tokens"])
    return pytest.approx(expected, abs=bound, rel=0)


def log_probability(model: OpenLM, context: list[int], continuation: list[int]) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([context + continuation]))[0].log_softmax(dim=-1)
    start = len(context) - 1
    return math.fsum(float(logits[start + i, token]) for i, token in enumerate(continuation))


def test_log_probabilities_are_those_of_the_bare_prompt(
    evaluated: Path, model: OpenLM, tokenizer: Any
) -> None:
    """Zero-shot multiple choice, without padding and without LLM Foundry."""
    rows = rows_of("smoke_article")
    for record in records_of(evaluated, "smoke_article"):
        row = rows[record["index"]]
        context = tokenizer.encode(row["query"])
        options = [tokenizer.encode(" " + choice) for choice in row["choices"]]
        assert record["option_tokens"] == [len(option) for option in options]
        assert record["option_logprobs"] == near(
            record, [log_probability(model, context, option) for option in options]
        )


def test_schema_scores_the_shared_end(evaluated: Path, model: OpenLM, tokenizer: Any) -> None:
    rows = rows_of("smoke_fitting_start")
    for record in records_of(evaluated, "smoke_fitting_start"):
        row = rows[record["index"]]
        end = tokenizer.encode(" " + row["continuation"])
        assert record["option_logprobs"] == near(
            record,
            [log_probability(model, tokenizer.encode(c), end) for c in row["context_options"]],
        )


def test_a_language_modelling_record_is_one_gold_option(
    evaluated: Path, model: OpenLM, tokenizer: Any
) -> None:
    rows = rows_of("smoke_set_phrase")
    for record in records_of(evaluated, "smoke_set_phrase"):
        row = rows[record["index"]]
        context, end = (tokenizer.encode(s) for s in (row["context"], " " + row["continuation"]))
        assert (record["gold"], record["prediction"]) == (0, None)
        assert record["option_logprobs"] == near(record, [log_probability(model, context, end)])


def test_few_shot_examples_come_from_the_whole_file(
    engine: LLMFoundryEngine, evaluated: Path
) -> None:
    """The first rows' answers do not depend on how many rows follow."""
    label = "smoke_set_phrase_fewshot"
    longer = [example.as_dict() for example in ask(engine, label, LIMIT + 3)]
    assert [record["index"] for record in longer] == list(range(LIMIT + 3))
    for short, long in zip(records_of(evaluated, label), longer[:LIMIT], strict=True):
        assert short["option_logprobs"] == near(short, long["option_logprobs"])
        assert short | {"option_logprobs": 0} == long | {"option_logprobs": 0}
    whole = ask(engine, label, None)
    assert len(whole) == len(rows_of(label))
    for one, long in zip(whole[: LIMIT + 3], longer, strict=True):
        assert one.option_logprobs == near(long, long["option_logprobs"])


def test_generation_with_a_cache_equals_reading_every_time_again(
    model: OpenLM, tokenizer: Any
) -> None:
    from evaluation.openlm_adapter import OpenLMForCausalLM

    adapter: Any = OpenLMForCausalLM(model)
    prompts = [tokenizer.encode("The value is"), tokenizer.encode("The names of the files are")]
    width = max(map(len, prompts))
    padded = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    generated = adapter.generate(
        input_ids=padded,
        attention_mask=padded != 0,
        max_new_tokens=6,
        use_cache=True,
        eos_token_id=0,
        pad_token_id=0,
    )
    for prompt, row in zip(prompts, generated[:, width:].tolist(), strict=True):
        ids = list(prompt)
        for _ in row:
            logits = model(torch.tensor([ids]))[0, -1]
            best, second = logits.topk(2).values.tolist()
            bound = rounding(float(logits.abs().max()), openlm_operations(SHAPE, len(ids)))
            assert best - second > 2 * bound  # or rounding chooses
            ids.append(int(logits.argmax()))
        assert ids[len(prompt) :] == row


def broken(tiny_model: Path, folder: Path) -> Path:
    """A model directory whose logits are not numbers."""
    shutil.copytree(tiny_model, folder)
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    checkpoint["state_dict"]["norm.weight"][0] = math.nan
    torch.save(checkpoint, folder / "checkpoint.pt")
    return folder


@pytest.mark.parametrize(
    ("label", "index"),
    [
        ("smoke_bracket", 0),
        ("smoke_set_phrase", 0),
        ("smoke_completion", 0),
        ("smoke_grammar", 0),
    ],
)
def test_a_model_that_gives_no_numbers_gets_no_score(
    tiny_model: Path, tmp_path: Path, label: str, index: int
) -> None:
    model = broken(tiny_model, tmp_path / "model")
    if label == "smoke_grammar":  # the first row of the first category
        index = [row["category"] for row in rows_of(label)].index("agreement")
    with pytest.raises(Failure, match=f"{label}, example {index}:") as raised:
        evaluate_model(
            model, "smoke", tmp_path / "out", labels=[label], limit=2, engine_name="llm-foundry"
        )
    assert raised.value.code == "not_a_number"
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    path = tmp_path / "model" / "tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text())
    token = {"id": 4096, "content": "<|one more|>", "special": True, "single_word": False}
    token |= {"lstrip": False, "rstrip": False, "normalized": False}
    content["added_tokens"].append(token)
    path.write_text(json.dumps(content))
    with pytest.raises(Failure, match="4097 ids, the model a vocabulary of 4096") as raised:
        evaluate_model(tmp_path / "model", "smoke", tmp_path / "out", engine_name="llm-foundry")
    assert raised.value.code == "model_invalid"


def test_an_unreadable_tokenizer_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "tokenizer" / "tokenizer.json").write_text("{")
    with pytest.raises(Failure, match="cannot read the tokenizer") as raised:
        evaluate_model(tmp_path / "model", "smoke", tmp_path / "out", engine_name="llm-foundry")
    assert raised.value.code == "model_invalid"
