"""A run over tasks: what is asked, kept and refused; with an engine that only guesses."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation import evaluate
from evaluation.evaluate import evaluate_model, stage
from evaluation.examples import Example
from evaluation.suite import Suite, Task, load_suite, rows_by_category
from submissions import cli
from submissions.codec import encode
from submissions.failures import Failure
from submissions.hashing import file_sha256, folder_sha256
from submissions.job import Job
from training_recipes.results import REPORT, TrainingReport, TrainResult

SMOKE = load_suite("smoke")


class Guesser:
    """Answers every even row right; notes which tasks it was asked."""

    name = "guesser"
    precision = "none"

    def __init__(self, stop_at: str | None = None) -> None:
        self.asked: list[str] = []
        self.stop_at = stop_at

    def row_length(self, suite: Suite, task: Task) -> int:
        return 256

    def evaluate_task(
        self,
        suite: Suite,
        task: Task,
        path: Path,
        limit: int | None,
        on_examples: Callable[[int], None],
    ) -> list[Example]:
        self.asked.append(task.label)
        if task.label == self.stop_at:
            raise KeyboardInterrupt
        examples = []
        for category, indices in rows_by_category(task, path):
            for index in indices[:limit]:
                on_examples(1)
                examples.append(
                    Example(task.label, index, category, index % 2 == 0, 0, 0, [-1.0], [1])
                )
        return examples


@pytest.fixture
def guess(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Guesser]:
    """Puts a new guesser in the place of the engine and returns it."""

    def install(stop_at: str | None = None) -> Guesser:
        guesser = Guesser(stop_at)
        monkeypatch.setattr(evaluate, "load_engine", lambda name, model, precision: guesser)
        return guesser

    return install


def test_results_records_and_progress(
    tiny_model: Path, tmp_path: Path, guess: Callable[..., Guesser]
) -> None:
    guesser = guess()
    steps: list[tuple[int, int, str, dict[str, float]]] = []

    def progress(step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        steps.append((step, of, message, metrics))

    results = evaluate_model(tiny_model, "smoke", tmp_path, progress=progress)
    assert guesser.asked == [task.label for task in SMOKE.tasks]
    assert json.loads((tmp_path / "results.json").read_text()) == results
    article = results["tasks"]["smoke_article"]
    assert (article["score"], article["n"]) == (0.5, 100)
    assert article["stderr"] == pytest.approx((0.25 / 99) ** 0.5)
    total = sum(task.rows or 0 for task in SMOKE.tasks)
    assert len((tmp_path / "examples.jsonl").read_text().splitlines()) == total
    assert [step for step, *_ in steps] == sorted(step for step, *_ in steps)
    assert steps[-1][:2] == (total, total)
    assert any("smoke_article (2 of 10)" in message for _, _, message, _ in steps)
    assert any("task_eta_seconds" in metrics for *_, metrics in steps)


def test_a_killed_run_goes_on_with_the_task_it_was_at(
    tiny_model: Path, tmp_path: Path, guess: Callable[..., Guesser]
) -> None:
    labels = [task.label for task in SMOKE.tasks]
    guess(stop_at=labels[2])
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(tiny_model, "smoke", tmp_path)
    assert not (tmp_path / "results.json").exists()

    guesser = guess()
    resumed = evaluate_model(tiny_model, "smoke", tmp_path)
    assert guesser.asked == labels[2:]

    guess()
    whole = evaluate_model(tiny_model, "smoke", tmp_path / "whole")
    figures = ("score", "n", "stderr")
    for label in labels:
        assert [resumed["tasks"][label][key] for key in figures] == [
            whole["tasks"][label][key] for key in figures
        ]
    joined = (tmp_path / "examples.jsonl").read_bytes()
    assert joined == (tmp_path / "whole" / "examples.jsonl").read_bytes()


def test_what_was_found_for_other_work_is_not_used(
    tiny_model: Path, tmp_path: Path, guess: Callable[..., Guesser]
) -> None:
    labels = ["smoke_article"]
    guess()
    evaluate_model(tiny_model, "smoke", tmp_path / "out", labels=labels)
    guesser = guess()
    results = evaluate_model(tiny_model, "smoke", tmp_path / "out", labels=labels, limit=6)
    assert guesser.asked == labels
    assert results["tasks"]["smoke_article"]["n"] == 6

    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    (other / "params.json").write_text((other / "params.json").read_text() + "\n")
    guesser = guess()
    evaluate_model(other, "smoke", tmp_path / "out", labels=labels, limit=6)
    assert guesser.asked == labels  # the same answers of another model are not its own


@pytest.fixture
def two_task_suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder with one of two tasks' files, and `core` and `full` made of these two."""
    content = b'{"query": "a", "choices": ["b", "c"], "gold": 0}\n' * 3
    sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    full = load_suite("full")
    copa, boolq = (replace(task, sha1=sha1) for task in full.choose(["copa", "boolq"]))
    small = replace(full, tasks=(copa, boolq))
    monkeypatch.setattr(evaluate, "load_suite", lambda name: small)
    path = tmp_path / "data" / copa.file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return tmp_path / "data"


def test_missing_tasks_are_listed_unless_they_were_named(
    tiny_model: Path, tmp_path: Path, guess: Callable[..., Guesser], two_task_suite: Path
) -> None:
    guess()
    results = evaluate_model(tiny_model, "full", tmp_path / "out", data=two_task_suite)
    assert list(results["tasks"]) == ["copa"]
    assert results["missing_tasks"] == ["boolq"]
    with pytest.raises(Failure, match="boolq: there is no file") as raised:
        evaluate_model(tiny_model, "full", tmp_path / "out", data=two_task_suite, labels=["boolq"])
    assert raised.value.code == "task_file_missing"


def test_an_altered_file_is_never_asked(
    tiny_model: Path, tmp_path: Path, guess: Callable[..., Guesser], two_task_suite: Path
) -> None:
    guesser = guess()
    (path,) = two_task_suite.rglob("*.jsonl")
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(Failure, match="copa") as raised:
        evaluate_model(tiny_model, "full", tmp_path / "out", data=two_task_suite)
    assert raised.value.code == "task_file_invalid"
    assert guesser.asked == []


def test_what_cannot_be_asked_is_refused_before_any_compute(
    tiny_model: Path, tmp_path: Path, guess: Callable[..., Guesser]
) -> None:
    def refused(code: str, model: Path = tiny_model, suite: str = "smoke", **named: Any) -> None:
        with pytest.raises(Failure) as raised:
            evaluate_model(model, suite, tmp_path / "out", **named)
        assert raised.value.code == code

    guesser = guess()
    refused("unknown_suite", suite="medium")
    refused("unknown_task", labels=["smoke_article", "smoke_nothing"])
    refused("task_file_missing", suite="full")
    refused("task_file_missing", suite="core", data=tmp_path)
    refused("task_file_missing", suite="full", data=tmp_path, labels=["gpqa_main"])
    refused("model_invalid", model=tmp_path / "nowhere")
    assert guesser.asked == []
    assert not (tmp_path / "out").exists()


def test_an_unknown_engine_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no engine 'magic'") as raised:
        evaluate_model(tiny_model, "smoke", tmp_path, engine_name="magic")
    assert raised.value.code == "unknown_engine"


def test_the_command(
    tiny_model: Path,
    tmp_path: Path,
    guess: Callable[..., Guesser],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("evaluation.commands",))
    guess()
    arguments = ["evaluate", "--model", str(tiny_model), "--suite", "smoke"]
    arguments += ["--tasks", "smoke_article,smoke_bracket", "--limit", "3"]
    arguments += ["--output", str(tmp_path / "out")]
    assert cli.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"tasks", "suite_hash", "engine"} <= set(document)
    assert set(document["tasks"]) == {"smoke_article", "smoke_bracket"}
    assert cli.main(arguments) == 0
    assert "smoke_bracket" in capsys.readouterr().out
    with pytest.raises(SystemExit) as raised:
        cli.main([*arguments, "--limit", "0"])
    assert raised.value.code == 2


def make_job(folder: Path, model: Path, sha256: str, recipe: str = "") -> Job:
    folder.mkdir()
    spec = {
        "key": "1-evaluate-a1",
        "stage": "evaluate",
        "inputs": {"model": {"uri": model.as_uri(), "sha256": sha256}},
        "parameters": {"suite": "smoke", "engine": "llm-foundry"},
        "output": (folder / "output").as_uri(),
        "hashes": {"recipe": recipe},
    }
    (folder / "job.json").write_text(json.dumps(spec))
    (folder / "output").mkdir()
    return Job(folder)


def test_the_stage(tiny_model: Path, tmp_path: Path, guess: Callable[..., Guesser]) -> None:
    guess()
    done = stage(make_job(tmp_path / "job", tiny_model, folder_sha256(tiny_model)))
    assert set(done.outputs) == {"results", "examples"}
    for artifact in done.outputs.values():
        assert artifact.sha256 == file_sha256(artifact.path)
    assert done.figures.suite_hash == SMOKE.hash
    assert done.figures.tasks["smoke_article"].n == 100
    assert (tmp_path / "job" / "progress.jsonl").read_text()

    with pytest.raises(Failure) as raised:
        stage(make_job(tmp_path / "changed", tiny_model, "0" * 64))
    assert raised.value.code == "artifact_corrupt"
    with pytest.raises(Failure) as raised:
        stage(make_job(tmp_path / "gone", tmp_path / "nowhere", ""))
    assert raised.value.code == "artifact_missing"


def test_a_model_of_another_recipe_is_refused(
    tiny_model: Path, tmp_path: Path, guess: Callable[..., Guesser]
) -> None:
    guesser = guess()
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    figures = TrainResult(loss=3, flops=1, engine="composer", recipe_sha256="", weights_sha256="")
    (model / REPORT).write_bytes(encode(TrainingReport({"recipe_sha256": "a" * 64}, figures)))
    with pytest.raises(Failure, match=r"b{12}, and the model was trained by a{12}$") as raised:
        stage(make_job(tmp_path / "other", model, "", recipe="b" * 64))
    assert (raised.value.code, guesser.asked) == ("recipe_changed", [])
    stage(make_job(tmp_path / "same", model, "", recipe="a" * 64))
    assert guesser.asked
