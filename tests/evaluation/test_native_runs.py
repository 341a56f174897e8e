"""Long runs of the native engine: killed, divided, short of memory; and what it refuses."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.evaluate import evaluate_model
from evaluation.examples import Example, read_examples
from evaluation.journal import Journal
from evaluation.native import engine as engine_module
from evaluation.native.decoding import Decoder
from evaluation.native.scoring import Scorer
from evaluation.processes import Processes
from evaluation.suite import load_suite
from submissions.failures import Failure
from tests.rounding import rounding_a_token
from training_recipes.scales import ModelShape

ROOT = Path(__file__).resolve().parents[2]
SMOKE = load_suite("smoke")
SHAPE = ModelShape(32, 2, 2, 256, 4096, True)  # of the model `two_layers`
LABELS = ["smoke_article", "smoke_grammar", "smoke_set_phrase_fewshot", "smoke_completion"]


def run(model: Path, output: Path, **options: Any) -> dict[str, Any]:
    options = {"labels": LABELS, "limit": 8} | options
    return evaluate_model(model, "smoke", output, engine_name="native", **options)


@pytest.fixture(scope="module")
def whole(two_layers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    run(two_layers, folder)
    return folder


def assert_same(folder: Path, other: Path) -> None:
    """The same examples in the same order, but for rounding."""
    pairs = zip(read_examples(folder / "examples.jsonl"), read_examples(other / "examples.jsonl"),
                strict=True)  # fmt: skip
    for one, two in pairs:
        first, second = one.as_dict(), two.as_dict()
        bound = rounding_a_token(one, SHAPE)
        for key, tokens in (("option_logprobs", max(one.option_tokens or [1])), ("margin", 2)):
            mine, other = first.pop(key, None), second.pop(key, None)
            near = pytest.approx(other, abs=bound * tokens, rel=0) if other is not None else None
            assert mine == near
        assert first == second


def command(model: Path, output: Path) -> list[str]:
    arguments = ["evaluate", "--model", str(model), "--suite", "smoke", "--engine", "native"]
    arguments += ["--tasks", ",".join(LABELS), "--limit", "8", "--output", str(output), "--json"]
    return ["-m", "submissions.cli", *arguments]


def test_a_run_killed_at_any_moment_goes_on_without_computing_anything_twice(
    two_layers: Path, tmp_path: Path, whole: Path
) -> None:
    """The process kills itself in the middle of a task, twice; the third run ends."""
    script = (
        "import os, sys\n"
        "from evaluation.journal import Journal\n"
        "from submissions.cli import main\n"
        "add, left = Journal.add, [int(sys.argv.pop(1))]\n"
        "def counting(self, work, examples):\n"
        "    add(self, work, examples)\n"
        "    left[0] -= len(examples)\n"
        "    if left[0] <= 0:\n"
        '        self._file.write(\'{"work": "\' + work + \'", "task": "sm\')\n'
        "        self._file.flush()\n"
        "        os.kill(os.getpid(), 9)\n"
        "Journal.add = counting\n"
        "sys.argv[0] = 'crucible'\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    output, journal = tmp_path / "out", tmp_path / "out" / "tasks" / "journal-0.jsonl"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    answered = 0
    for after in (3, 20):
        arguments = [sys.executable, "-c", script, str(after), *command(two_layers, output)[2:]]
        ended = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert not (output / "results.json").exists()
        lines = [line for line in journal.read_text().splitlines() if line.endswith("}")]
        rows = [(record["task"], record["index"]) for record in map(json.loads, lines)]
        assert len(set(rows)) == len(rows) >= answered + after  # nothing was answered twice
        answered = len(rows)
    asked: list[int] = []
    original = Journal.add

    def note(self: Journal, work: str, examples: list[Example]) -> None:
        asked.append(len(examples))
        original(self, work, examples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "add", note)
        results = run(two_layers, output)
    assert sum(asked) + answered == sum(task["n"] for task in results["tasks"].values())
    assert not journal.exists()
    assert_same(output, whole)


def test_a_finished_run_is_not_computed_again(
    two_layers: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path / "out")
    monkeypatch.setattr(Scorer, "score", lambda *_: pytest.fail("computed again"))
    again = run(two_layers, tmp_path / "out")
    assert again["rounding"] is None  # nothing was computed whose rounding could be measured
    assert again["tasks"] == json.loads((whole / "results.json").read_text())["tasks"]
    with pytest.raises(pytest.fail.Exception):
        run(two_layers, tmp_path / "out", precision="bf16")


def test_two_processes_of_torchrun_give_what_one_gives(
    two_layers: Path, tmp_path: Path, whole: Path
) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    arguments = [sys.executable, *launcher, sys.executable, *command(two_layers, tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["tasks"]["smoke_article"]["n"] == 8
    assert_same(tmp_path, whole)
    assert not list(tmp_path.glob("tasks/journal-*"))


class Seat(Processes):
    """One of several processes, without the others."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self.rank, self.size = rank, size


def test_every_process_gets_about_the_same_cost_and_everything_is_somebodys() -> None:
    costs = [float(3 + i % 97 * (i % 7)) for i in range(500)]
    shares = [Seat(rank, 3).share(costs) for rank in range(3)]
    assert sorted(piece for share in shares for piece in share) == list(range(500))
    sums = [sum(costs[piece] for piece in share) for share in shares]
    assert max(sums) - min(sums) <= max(costs)


def test_several_processes_cannot_audit(two_layers: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        with pytest.raises(Failure, match="the reference engine runs in one process"):
            run(two_layers, tmp_path, audit=3)


def memory_for(tokens: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine on which no more tokens than these are scored together; returns what was tried."""
    score, tried = Scorer.score, []

    def limited(self: Scorer, batch: list[Any], with_gaps: bool) -> Any:
        tried.append(sum(item.tokens for item in batch))
        if tried[-1] > tokens:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return score(self, batch, with_gaps)

    monkeypatch.setattr(Scorer, "score", limited)
    return tried


def test_what_does_not_fit_into_memory_is_halved(
    two_layers: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = memory_for(150, monkeypatch)
    monkeypatch.setattr(engine_module, "slots_that_fit", lambda *_: 8)
    begin, slots = Decoder.begin, []

    def limited(self: Any, prompts: list[Any], cache: Any, first: int) -> Any:
        slots.append(len(cache.visible))
        if slots[-1] > 3:
            raise torch.cuda.OutOfMemoryError("no memory")
        return begin(self, prompts, cache, first)

    monkeypatch.setattr(Decoder, "begin", limited)
    run(two_layers, tmp_path)
    assert_same(tmp_path, whole)
    assert max(tried) > 300
    # Once too large, batches stay smaller: of all tries few were in vain.
    assert sum(tokens > 150 for tokens in tried) <= 4
    assert max(slots) == 8
    assert slots[-1] == 2


def test_one_question_that_does_not_fit_ends_the_run(
    two_layers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_for(3, monkeypatch)
    with pytest.raises(Failure, match="one question alone does not fit") as raised:
        run(two_layers, tmp_path)
    assert raised.value.code == "out_of_memory"


def changed(model: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The model directory with other weights."""
    shutil.copytree(model, folder)
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    change(checkpoint["state_dict"])
    torch.save(checkpoint, folder / "checkpoint.pt")
    return folder


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("label", ["smoke_bracket", "smoke_set_phrase", "smoke_completion"])
@pytest.mark.parametrize("name", ["norm.weight", "output.weight", "layers.0.ffn_norm.weight"])
def test_a_model_that_gives_no_numbers_gets_no_score(
    two_layers: Path, tmp_path: Path, label: str, value: float, name: str
) -> None:
    def spoil(weights: dict[str, Any]) -> None:
        weights[name].view(-1)[0] = value

    model = changed(two_layers, tmp_path / "model", spoil)
    with pytest.raises(Failure, match=rf"{label}, example \d+: the model gives NaN") as raised:
        run(model, tmp_path / "out", labels=[label], limit=2)
    assert raised.value.code == "not_a_number"
    assert not (tmp_path / "out" / "results.json").exists()


def test_models_that_do_not_fit_are_refused_in_a_sentence(two_layers: Path, tmp_path: Path) -> None:
    def narrow(weights: dict[str, Any]) -> None:
        for name in ("tok_embeddings.weight", "output.weight"):
            weights[name] = weights[name][:4000]

    small = changed(two_layers, tmp_path / "small", narrow)
    params = json.loads((small / "params.json").read_text())
    (small / "params.json").write_text(json.dumps(params | {"vocab_size": 4000}))
    other = changed(two_layers, tmp_path / "other", lambda weights: weights.pop("norm.weight"))
    rms = shutil.copytree(two_layers, tmp_path / "rms")
    (rms / "params.json").write_text(json.dumps(params | {"model_norm": "rms_norm"}))
    for model, sentence in (
        (small, "the tokenizer has 4096 ids, the model a vocabulary of 4000"),
        (other, "the weights in .* do not fit params.json"),
        (rms, "model_norm = 'rms_norm': not supported"),
    ):
        with pytest.raises(Failure, match=sentence) as raised:
            run(model, tmp_path / "out")
        assert raised.value.code == "model_invalid"


def test_precisions_are_named_in_the_results_and_measured(two_layers: Path, tmp_path: Path) -> None:
    exact = run(two_layers, tmp_path / "fp32")
    low = run(two_layers, tmp_path / "bf16", precision="bf16")
    assert (exact["precision"], low["precision"]) == ("fp32", "bf16")
    records = read_examples(tmp_path / "fp32" / "examples.jsonl")
    bound = max(rounding_a_token(example, SHAPE) for example in records)
    assert 0 <= exact["rounding"]["largest_difference"] <= bound
    assert low["rounding"]["largest_difference"] > 2 * bound
    assert low["rounding"]["examples_within_twice_that"] > 0
    records = read_examples(tmp_path / "bf16" / "examples.jsonl")
    bound = 2 * low["rounding"]["largest_difference"]
    within = [e for e in records if e.margin is not None and e.margin < bound]
    assert low["rounding"]["examples_within_twice_that"] == len(within)
    if not torch.cuda.is_available():
        with pytest.raises(Failure, match="tf32 needs a GPU"):
            run(two_layers, tmp_path / "tf32", precision="tf32")
    with pytest.raises(Failure, match="llm-foundry has no choice of precision"):
        evaluate_model(two_layers, "smoke", tmp_path, engine_name="llm-foundry", precision="bf16")


def test_progress_counts_all_tasks_and_says_when_all_is_done(
    two_layers: Path, tmp_path: Path
) -> None:
    heard: list[tuple[int, int, str, dict[str, float]]] = []

    def progress(step: int, of: int, unit: str, message: str = "", **figures: float) -> None:
        heard.append((step, of, message, figures))

    results = run(two_layers, tmp_path, progress=progress)
    total = sum(task["n"] for task in results["tasks"].values())
    assert heard[0][:3] == (0, total, "0 of 4 tasks")
    assert [step for step, *_ in heard] == sorted(step for step, *_ in heard)
    assert heard[-1][:2] == (total, total)
    assert heard[-1][2].startswith("4 of 4 tasks, smoke_completion 8 of 8")
    assert heard[-1][3]["eta_seconds"] == pytest.approx(0, abs=1e-6)


def test_time_of_a_batch_is_divided_among_its_tasks(two_layers: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    results = run(two_layers, tmp_path)
    seconds = [task["seconds"] for task in results["tasks"].values()]
    assert all(value > 0 for value in seconds)
    assert sum(seconds) <= time.monotonic() - started
