"""Evaluates a model directory on a suite, task by task, resuming where an earlier run stopped.

As a stage: input `model`; parameters `suite`, `engine`, `data` (optional folder of task files);
outputs `results` (results.json) and `examples` (examples.jsonl).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evaluation.examples import Example, result_of, write_examples
from evaluation.suite import (
    Suite,
    Task,
    check_task_file,
    hash_of,
    load_suite,
    rows_by_category,
    task_path,
)
from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256, folder_sha256
from submissions.job import (
    Artifact,
    Job,
    StageResult,
    hardware,
    run_stage,
    versions,
    write_json_atomically,
)
from submissions.progress import Progress, no_progress

ENGINES = ("llm-foundry",)
DEFAULT_ENGINE = "llm-foundry"
RESULTS, EXAMPLES, FINISHED = "results.json", "examples.jsonl", "tasks"


class OnExamples(Protocol):
    """Hears how many more examples of the current task are done."""

    def __call__(self, count: int) -> None: ...


class Engine(Protocol):
    """What answers the questions: a model, ready to be asked the tasks of a suite."""

    name: str
    precision: str  # of the arithmetic, as it is written into the results

    def row_length(self, suite: Suite, task: Task) -> int:
        """Tokens that a prompt and its answer may have together."""
        ...

    def evaluate_task(
        self, suite: Suite, task: Task, path: Path, limit: int | None, on_examples: OnExamples
    ) -> list[Example]:
        """One record for each row, or for the first `limit` rows of each category."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """One run: what to ask, of which model, and where its files go."""

    suite: Suite
    tasks: dict[Task, Path]
    missing: list[str]
    limit: int | None
    model_sha256: str
    output: Path

    def rows(self, task: Task) -> int:
        """How many examples of the task are asked."""
        groups = rows_by_category(task, self.tasks[task])
        return sum(len(indices[: self.limit]) for _, indices in groups)


def evaluate_model(
    model: Path,
    suite_name: str,
    output: Path,
    *,
    data: Path | None = None,
    labels: list[str] | None = None,
    limit: int | None = None,
    engine_name: str = DEFAULT_ENGINE,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Asks `model` the suite's tasks and returns the content of `output`/results.json.

    `labels` chooses tasks, all of whose files must be there. Without it, tasks whose file `data`
    does not hold are left out and listed in `missing_tasks`, so that no score over all can be
    computed. Raises `unknown_suite`, `unknown_task`, `unknown_engine`, `task_file_missing`,
    `task_file_invalid` and `model_invalid` before any compute, and `not_a_number`.
    """
    suite = load_suite(suite_name)
    tasks, missing = _find_tasks(suite, data, labels)
    run = Evaluation(suite, tasks, missing, limit, model_sha256(model), output)
    engine = load_engine(engine_name, model)
    (output / FINISHED).mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    results = _evaluate_tasks(run, engine, progress)
    document = {
        "suite": suite.name,
        "suite_hash": suite.hash,
        "engine": engine.name,
        "precision": engine.precision,
        "limit": limit,
        "model_sha256": run.model_sha256,
        "tokenizer_sha256": folder_sha256(model / "tokenizer"),
        "missing_tasks": missing,
        "seconds": round(time.monotonic() - started, 3),
        "versions": versions(),
        "hardware": hardware(),
        "tasks": results,
    }
    _join_examples(output, [task.label for task in tasks])
    write_json_atomically(output / RESULTS, document)
    return document


def load_engine(name: str, model: Path) -> Engine:
    """The engine of that name with the model of a model directory loaded."""
    if name not in ENGINES:
        raise Failure("unknown_engine", f"there is no engine {name!r}: {', '.join(ENGINES)}")
    from training_recipes.model_dir import load_model_dir

    transformer = load_model_dir(model)
    from evaluation.llm_foundry import LLMFoundryEngine, read_tokenizer

    tokenizer = read_tokenizer(model / "tokenizer")
    return LLMFoundryEngine(transformer, tokenizer)


def model_sha256(model: Path) -> str:
    """The hash of the three parts of a model directory; `model_invalid` when one is missing."""
    for name in ("params.json", "checkpoint.pt", "tokenizer"):
        if not (model / name).exists():
            raise Failure("model_invalid", f"{model} has no {name}")
    files = (model / "params.json", model / "checkpoint.pt")
    return combined_sha256([*map(file_sha256, files), folder_sha256(model / "tokenizer")])


def _find_tasks(
    suite: Suite, data: Path | None, labels: list[str] | None
) -> tuple[dict[Task, Path], list[str]]:
    """The tasks with their verified files, and the labels of those left out."""
    found: dict[Task, Path] = {}
    missing = []
    for task in suite.choose(labels):
        there = task.sha1 is not None and task_path(suite, task, data).is_file()
        if there or labels is not None:
            found[task] = check_task_file(suite, task, data)
        else:
            missing.append(task.label)
    if not found:
        raise Failure("task_file_missing", f"{data} holds no task file of the suite {suite.name}")
    return found, missing


def _evaluate_tasks(run: Evaluation, engine: Engine, progress: Progress) -> dict[str, Any]:
    """Each task's result, kept from an earlier run of the same work or computed now."""
    counts = {task: run.rows(task) for task in run.tasks}
    total, before = sum(counts.values()), 0
    results = {}
    for number, (task, path) in enumerate(run.tasks.items(), 1):
        report = _TaskProgress(
            progress, f"{task.label} ({number} of {len(counts)})", counts[task], before, total
        )
        work = {
            "task": task.answer_determining(engine.row_length(run.suite, task)),
            "model": run.model_sha256,
            "engine": engine.name,
            "limit": run.limit,
        }
        result = _finished(run.output, task, work)
        if result is None:
            report(0)
            examples = engine.evaluate_task(run.suite, task, path, run.limit, report)
            result = _result(examples, report.seconds)
            _keep(run.output, task, work, examples, result)
        before += counts[task]
        progress(before, total, "example", f"{task.label} done")
        results[task.label] = result
    return results


class _TaskProgress:
    """Tells how far one task is, within all of them, and when it should be done."""

    def __init__(self, progress: Progress, name: str, rows: int, before: int, total: int) -> None:
        self._progress, self._name, self._rows = progress, name, rows
        self._before, self._total, self._done = before, total, 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __call__(self, count: int) -> None:
        self._done += count
        figures = {}
        if self._done:
            figures["task_eta_seconds"] = self.seconds / self._done * (self._rows - self._done)
        step = min(self._before + self._done, self._total)
        self._progress(step, self._total, "example", self._name, **figures)


def _result(examples: list[Example], seconds: float) -> dict[str, Any]:
    """A task's entry in results.json."""
    overall = result_of(examples)
    entry: dict[str, Any] = {
        "score": overall.score,
        "n": overall.n,
        "stderr": overall.stderr,
        "seconds": round(seconds, 3),
    }
    names = sorted({example.category for example in examples if example.category is not None})
    if names:
        by_name = {name: [e for e in examples if e.category == name] for name in names}
        parts = {name: result_of(members) for name, members in by_name.items()}
        entry["categories"] = {
            name: {"score": part.score, "n": part.n} for name, part in parts.items()
        }
    return entry


def _finished(output: Path, task: Task, work: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run in this folder found, when it did the very same work."""
    try:
        document = json.loads((output / FINISHED / f"{task.label}.json").read_text())
    except (OSError, ValueError):
        return None
    same = document.get("work") == hash_of(work)
    if not same or not (output / FINISHED / f"{task.label}.jsonl").is_file():
        return None
    result: dict[str, Any] = document["result"]
    return result


def _keep(
    output: Path, task: Task, work: dict[str, Any], examples: list[Example], result: dict[str, Any]
) -> None:
    """Records first, then the note that they are whole: a kill in between costs one task."""
    partial = output / FINISHED / f".{task.label}.part"
    write_examples(partial, examples)
    partial.rename(output / FINISHED / f"{task.label}.jsonl")
    note = {"work": hash_of(work), "result": result}
    write_json_atomically(output / FINISHED / f"{task.label}.json", note)


def _join_examples(output: Path, labels: Iterable[str]) -> None:
    partial = output / f".{EXAMPLES}.part"
    with partial.open("wb") as joined:
        for label in labels:
            with (output / FINISHED / f"{label}.jsonl").open("rb") as part:
                shutil.copyfileobj(part, joined)
    partial.rename(output / EXAMPLES)


def stage(job: Job) -> StageResult:
    """Evaluates the model that the train stage wrote."""
    model = job.inputs["model"].verified(folder_sha256)
    data = job.parameters.get("data")
    document = evaluate_model(
        model,
        job.parameters["suite"],
        job.output,
        data=Path(data) if data else None,
        engine_name=job.parameters.get("engine", DEFAULT_ENGINE),
        progress=job.progress,
    )
    outputs = {
        name: Artifact((job.output / file).as_uri(), file_sha256(job.output / file))
        for name, file in (("results", RESULTS), ("examples", EXAMPLES))
    }
    kept = ("suite", "suite_hash", "engine", "precision", "missing_tasks", "tasks")
    return StageResult(outputs, {key: document[key] for key in kept})


if __name__ == "__main__":
    sys.exit(run_stage(stage))
