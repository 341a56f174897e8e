"""The audit: a sample of a run's answers beside LLM Foundry's, and the differences it must find."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation import evaluate
from evaluation.audit import TOLERANCE, compare, draw, summary
from evaluation.evaluate import evaluate_model
from evaluation.examples import Example, read_examples
from evaluation.native.scoring import Scorer
from evaluation.suite import Task, load_suite
from submissions import cli
from submissions.failures import Failure
from submissions.hashing import folder_sha256
from submissions.job import Job

CHOICE, WRITING = load_suite("smoke").choose(["smoke_article", "smoke_last_item_cot"])
CHOSEN = Example("smoke_article", 3, None, True, 1, 1, [-9.0, -4.0], [2, 1], margin=0.5)
WRITTEN = Example("smoke_last_item_cot", 5, None, True, None, None, generated="a b\n\n", margin=1.0)


def found(mine: Example, theirs: Example, task: Task = CHOICE, exact: bool = True) -> Any:
    return compare([(task, mine, theirs)], exact)


def test_equal_answers_are_ok() -> None:
    result = found(CHOSEN, replace(CHOSEN, option_logprobs=[-9.00005, -4.0], margin=None))
    assert result["ok"]
    assert result["different"] == []
    assert result["largest_difference"] == 9.00005 - 9.0
    assert result["tasks"]["smoke_article"]["examples"] == 1
    # The reference goes on writing after a stop string, which changes nothing.
    assert found(WRITTEN, replace(WRITTEN, generated="a b\n\nQ: and so on"), WRITING)["ok"]


@pytest.mark.parametrize(
    "planted",
    [
        {"prediction": 0, "correct": False},
        {"gold": 0},
        {"option_tokens": [2, 2]},
        {"option_logprobs": [-9.0, -4.0, -5.0], "option_tokens": [2, 1, 1]},
        {"option_logprobs": [-9.0002, -4.0]},
        {"category": "other"},
    ],
)
def test_a_planted_difference_is_found(planted: dict[str, Any]) -> None:
    assert not found(CHOSEN, replace(CHOSEN, **planted))["ok"]


def test_another_text_is_found() -> None:
    result = found(WRITTEN, replace(WRITTEN, generated="a c\n\n"), WRITING)
    head = {"engine": "llm-foundry", "precision": "fp32"}
    assert "0 of 1 examples agree with llm-foundry (fp32)" in summary(head | result)
    assert summary(head | result).endswith("other answers: smoke_last_item_cot 5")
    assert result["different"] == [{"task": "smoke_last_item_cot", "index": 5, "margin": 1.0}]
    assert not result["ok"]


def test_only_what_rounding_may_decide_is_close() -> None:
    other = {"prediction": 0, "correct": False}
    near = replace(CHOSEN, margin=TOLERANCE / 2)
    result = found(near, replace(CHOSEN, **other))
    assert (len(result["different"]), result["close"], result["ok"]) == (1, 1, True)
    # Other questions are never close, however small the margin.
    assert found(near, replace(CHOSEN, gold=0))["close"] == 0
    # In other precisions as far as the sample's log-probabilities differ, for a token.
    low = replace(CHOSEN, option_logprobs=[-9.6, -4.0], **other)
    assert found(replace(CHOSEN, margin=0.29), low, exact=False)["ok"]
    assert not found(replace(CHOSEN, margin=0.31), low, exact=False)["ok"]


def test_the_sample_takes_from_every_task_in_turn_and_is_the_same_every_time() -> None:
    records = [
        replace(CHOSEN, task=task, index=index)
        for task, count in (("a", 50), ("b", 3), ("c", 20))
        for index in range(count)
    ]
    sample = draw(records, 20)
    counts = {task: sum(e.task == task for e in sample) for task in "abc"}
    assert counts["b"] == 3
    assert abs(counts["a"] - counts["c"]) <= 1
    assert sample == draw(records, 20)
    assert len({(e.task, e.index) for e in sample}) == 20
    assert sorted(draw(records, 1000), key=records.index) == records


def test_a_run_is_verified_with_llm_foundry(
    two_layers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At the command line: first a sound run, then one whose records somebody changed."""
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("evaluation.commands",))
    arguments = ["evaluate", "--model", str(two_layers), "--suite", "smoke", "--limit", "6"]
    arguments += ["--engine", "native", "--tasks", "smoke_article,smoke_grammar,smoke_completion"]
    arguments += ["--verify-with", "llm-foundry", "--sample", "9", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    assert "9 of 9 examples agree with llm-foundry" in capsys.readouterr().out
    audit = json.loads((tmp_path / "results.json").read_text())["audit"]
    assert {"engine": "llm-foundry", "examples": 9, "ok": True, "different": []}.items() <= (
        audit.items()
    )
    assert audit["largest_difference"] <= TOLERANCE
    assert {entry["examples"] for entry in audit["tasks"].values()} == {3}

    kept = tmp_path / "tasks" / "smoke_article.jsonl"
    wrong = [replace(e, prediction=1 - (e.prediction or 0)) for e in read_examples(kept)]
    kept.write_text("".join(json.dumps(example.as_dict()) + "\n" for example in wrong))
    assert cli.main([*arguments, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert [one["task"] for one in document["audit"]["different"]] == ["smoke_article"] * 3


def test_an_engine_that_computes_something_else_is_found(
    two_layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score: Callable[..., Any] = Scorer.score

    def shifted(self: Scorer, batch: Any, with_gaps: bool) -> Any:
        return [
            (question, row, replace(found, logprob=found.logprob * 1.001))
            for question, row, found in score(self, batch, with_gaps)
        ]

    monkeypatch.setattr(Scorer, "score", shifted)
    labels = ["smoke_article"]
    results = evaluate_model(
        two_layers, "smoke", tmp_path, labels=labels, limit=3, engine_name="native", audit=3
    )
    assert results["audit"]["different"] == []
    assert not results["audit"]["ok"]


def test_a_stage_whose_audit_is_not_ok_fails_and_makes_no_score(
    two_layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        evaluate,
        "ask_again",
        lambda *_: (
            {"engine": "llm-foundry", "precision": "fp32"}
            | compare([(CHOICE, CHOSEN, replace(CHOSEN, prediction=0, correct=False))], True)
        ),
    )
    model = {"uri": two_layers.as_uri(), "sha256": folder_sha256(two_layers)}
    (tmp_path / "output").mkdir()
    parameters = {"suite": "smoke", "audit": 1}
    spec = {"key": "1-evaluate-a1", "stage": "evaluate", "inputs": {"model": model}}
    spec |= {"parameters": parameters, "output": (tmp_path / "output").as_uri()}
    (tmp_path / "job.json").write_text(json.dumps(spec))
    with pytest.raises(Failure, match="other answers: smoke_article 3") as raised:
        evaluate.stage(Job(tmp_path))
    assert raised.value.code == "audit_differs"
    assert raised.value.fault == "infrastructure"
