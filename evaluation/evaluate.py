"""Evaluates a model directory on a suite, resuming where an earlier run stopped.

As a stage: input `model`; parameters `suite`, `engine`, `data` (optional folder of task files),
`audit` (optional number of examples, all of which must agree), `reference_answers`; outputs
`results` (results.json) and `examples` (examples.jsonl).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from evaluation.audit import audit as ask_again
from evaluation.audit import summary
from evaluation.engines import (
    DEFAULT_ENGINE,
    REFERENCE,
    load_engine,
    model_sha256,
    tokenizer_sha256,
)
from evaluation.examples import Example, read_examples, write_examples
from evaluation.journal import Journal
from evaluation.processes import Processes
from evaluation.progress import QueueProgress, TaskProgress
from evaluation.results import EvaluateResult
from evaluation.suite import (
    Suite,
    Task,
    hash_of,
    load_suite,
    rows_by_category,
    task_path,
)
from evaluation.task_file import check_task_file
from evaluation.task_results import (
    EXAMPLES,
    FINISHED,
    TaskFigures,
    finished_figures,
    join_examples,
    keep_task,
    task_figures,
)
from submissions.codec import read, to_json
from submissions.failures import Failure
from submissions.hashing import file_sha256, folder_sha256
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
from training_recipes.results import REPORT, TrainingReport

RESULTS = "results.json"


class OnExamples(Protocol):
    """Called with the number of further examples of the current task that are done."""

    def __call__(self, count: int) -> None: ...


class TaskEngine(Protocol):
    """A model, ready to be asked one task after another."""

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


@runtime_checkable
class QueueEngine(Protocol):
    """A model, ready to be asked all tasks at once, by one process or by several."""

    name: str
    precision: str

    def row_length(self, suite: Suite, task: Task) -> int:
        """Tokens that a prompt and its answer may have together."""
        ...

    def evaluate_tasks(
        self,
        suite: Suite,
        tasks: Mapping[Task, Path],
        limit: int | None,
        known: Mapping[Task, Mapping[int, Example]],
        keep: Callable[[Task, list[Example], float], None],
    ) -> Iterator[tuple[Task, list[Example], float]]:
        """Tasks with all their records and their seconds; in the first process only.

        `known` are records of an earlier run, by row. `keep` gets new ones as they are made, with
        the part of the computing that is left.
        """
        ...

    def rounding(self, examples: list[Example]) -> dict[str, Any] | None:
        """How many of the run's records rounding may have changed."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """One run: the suite, the model, and the folder for its files."""

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

    def work(self, task: Task, engine: TaskEngine | QueueEngine) -> str:
        """The hash of all that determines this task's records here."""
        return hash_of(
            {
                "task": task.answer_determining(engine.row_length(self.suite, task)),
                "model": self.model_sha256,
                "engine": engine.name,
                "precision": engine.precision,
                "limit": self.limit,
            }
        )


def evaluate_model(
    model: Path,
    suite_name: str,
    output: Path,
    *,
    data: Path | None = None,
    labels: list[str] | None = None,
    limit: int | None = None,
    engine_name: str = DEFAULT_ENGINE,
    precision: str | None = None,
    audit: int | None = None,
    reference_answers: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Asks `model` the suite's tasks and returns the content of `output`/results.json.

    `labels` chooses tasks, all of whose files must be there. Without it, tasks whose file `data`
    does not hold are left out and listed in `missing_tasks`, so that no score over all tasks is
    possible. `precision` is the native engine's; with `audit` the reference engine answers so many
    of the same questions. `reference_answers` scores the right answers of written questions
    too (the native engine's; in the first process). Of several processes the first alone writes
    results. Raises `unknown_suite`, `unknown_task`, `unknown_engine`, `task_file_missing`,
    `task_file_invalid` and `model_invalid` before any compute, and `not_a_number`.
    """
    if audit is not None and Processes().size > 1:
        raise Failure(
            "refused",
            "the reference engine runs in one process: evaluate without --verify-with, then run "
            "the same command with it in one process: it reuses the answers in --output",
        )
    if reference_answers and engine_name == REFERENCE:
        raise Failure(
            "unknown_engine", f"{REFERENCE} scores no reference answers: use the engine native"
        )
    suite = load_suite(suite_name)
    tasks, missing = _find_tasks(suite, data, labels)
    run = Evaluation(suite, tasks, missing, limit, model_sha256(model), output)
    engine = load_engine(engine_name, model, precision)
    (output / FINISHED).mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    document = {
        "suite": suite.name,
        "suite_hash": suite.hash,
        "engine": engine.name,
        "precision": engine.precision,
        "limit": limit,
        "model_sha256": run.model_sha256,
        "tokenizer_sha256": tokenizer_sha256(model),
        "missing_tasks": missing,
        "tasks": to_json(_answer(run, engine, progress)),
        "seconds": round(time.monotonic() - started, 3),
        "versions": versions(),
        "hardware": to_json(hardware()),
    }
    if not Processes().first:
        return document
    join_examples(output, [task.label for task in tasks])
    records = read_examples(output / EXAMPLES)
    if isinstance(engine, QueueEngine):
        document["rounding"] = engine.rounding(records)
    if reference_answers:
        _add_reference_answers(run, engine, records, progress)
    if audit is not None:
        precision = engine.precision
        del engine  # two models at a time may be more than the memory holds
        document["audit"] = ask_again(model, suite, tasks, records, audit, precision, progress)
    write_json_atomically(output / RESULTS, document)
    Journal(output / FINISHED).remove()
    return document


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


def _answer(
    run: Evaluation, engine: TaskEngine | QueueEngine, progress: Progress
) -> dict[str, TaskFigures]:
    """Each task's result, kept from an earlier run of the same work or computed now."""
    works = {task: run.work(task, engine) for task in run.tasks}
    results = {}
    for task, work in works.items():
        result = finished_figures(run.output, task, work)
        if result is not None:
            results[task] = result
    counts = {task: run.rows(task) for task in run.tasks}
    left = [task for task in run.tasks if task not in results]
    if isinstance(engine, QueueEngine):
        answered = _together(run, engine, works, counts, left, progress)
    else:
        answered = _one_by_one(run, engine, counts, left, progress)
    for task, examples, seconds in answered:
        results[task] = task_figures(examples, seconds)
        keep_task(run.output, task, works[task], examples, results[task])
    return {task.label: results[task] for task in run.tasks if task in results}


def _add_reference_answers(
    run: Evaluation, engine: Any, records: list[Example], progress: Progress
) -> None:
    """Writes the records again, with the right answers' log-probabilities.

    The tasks' own files stay without them: an audit compares what both engines compute.
    """
    from evaluation.native.reference_answers import with_reference_answers

    found = with_reference_answers(
        engine,
        run.suite,
        run.tasks,
        records,
        lambda done, of: progress(done, of, "example", "reference answers"),
    )
    partial = run.output / f".{EXAMPLES}.part"
    write_examples(partial, found)
    partial.rename(run.output / EXAMPLES)


def _one_by_one(
    run: Evaluation,
    engine: TaskEngine,
    counts: Mapping[Task, int],
    left: list[Task],
    progress: Progress,
) -> Iterator[tuple[Task, list[Example], float]]:
    """The tasks that are `left`, each with its records and seconds."""
    total, before = sum(counts.values()), 0
    for number, (task, rows) in enumerate(counts.items(), 1):
        if task in left:
            name = f"{task.label} ({number} of {len(counts)})"
            report = TaskProgress(progress, name, rows, before, total)
            report(0)
            path = run.tasks[task]
            examples = engine.evaluate_task(run.suite, task, path, run.limit, report)
            yield task, examples, report.seconds
        before += rows
        progress(before, total, "example", f"{task.label} done")


def _together(
    run: Evaluation,
    engine: QueueEngine,
    works: Mapping[Task, str],
    counts: Mapping[Task, int],
    left: list[Task],
    progress: Progress,
) -> Iterator[tuple[Task, list[Example], float]]:
    """The tasks that are `left`, in the order in which they are finished.

    Every answer goes into a journal at once, so that a killed run loses one batch at most.
    """
    processes = Processes()
    journal = Journal(run.output / FINISHED, processes.rank)
    found = journal.read(works[task] for task in left) if processes.first else {}
    # What was done before must be the same for all processes, which divide the rest.
    labels = processes.agree([task.label for task in left])
    left = [task for task in run.tasks if task.label in labels]
    found = processes.agree(found)
    known = {task: found[works[task]] for task in left}
    before = {task.label: len(known[task]) if task in known else counts[task] for task in counts}
    rows = {task.label: count for task, count in counts.items()}
    report = QueueProgress(progress, rows, before, 1 / processes.size)

    def keep(task: Task, examples: list[Example], part_left: float) -> None:
        journal.add(works[task], examples)
        if processes.first:
            report.add(task.label, len(examples), part_left)

    paths = {task: run.tasks[task] for task in left}
    yield from engine.evaluate_tasks(run.suite, paths, run.limit, known, keep)


def stage(job: Job) -> StageResult[EvaluateResult]:
    """Evaluates the model that the train stage wrote; `audit_differs` where the audit is not ok."""
    model = job.inputs["model"].verified(folder_sha256)
    _require_recipe(job, model)
    data = job.parameters.get("data")
    document = evaluate_model(
        model,
        job.parameters["suite"],
        job.output,
        data=Path(data) if data else None,
        engine_name=job.parameters.get("engine", DEFAULT_ENGINE),
        audit=job.parameters.get("audit"),
        reference_answers=bool(job.parameters.get("reference_answers")),
        progress=job.progress,
    )
    if not document.get("audit", {}).get("ok", True):
        raise Failure("audit_differs", summary(document["audit"]))
    outputs = {
        name: Artifact((job.output / file).as_uri(), file_sha256(job.output / file))
        for name, file in (("results", RESULTS), ("examples", EXAMPLES))
    }
    figures = read(EvaluateResult, job.output / RESULTS, code="internal_error")
    return StageResult(outputs, figures)


def _require_recipe(job: Job, model: Path) -> None:
    """`recipe_changed` for a model that says it was trained by another recipe than the job's."""
    if (model / REPORT).exists():
        report = read(TrainingReport, model / REPORT, code="artifact_corrupt")
        job.require_recipe(report.recipe_sha256, "the model was trained by")


if __name__ == "__main__":
    sys.exit(run_stage(stage))
