"""Results in, score out: reads our own results.json and DCLM's eval JSON; needs no torch.

As a stage: inputs `results` and `examples`; parameters `metric_version`, `suite` (of an
organiser's own file), `data` (the folder of task files); outputs `score` (score.json) and
`records` (records.parquet).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from evaluation.metrics import (
    AGGREGATES,
    DEFAULT_METRIC_VERSION,
    ScoreFigures,
    TaskResult,
    score_results,
)
from evaluation.suite import Suite, load_suite
from evaluation.suite_file import METRIC_VERSIONS, SUITE_NAMES
from evaluation.task_results import Share, TaskFigures
from submissions.codec import decode, read
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.job import Artifact, Job, StageResult, run_stage, write_json_atomically


class ScoreResult(ScoreFigures, frozen=True, kw_only=True):
    """The score document: what `crucible score --json` prints and the stage's figures.

    `centered` repeats the tasks' centred scores by label; `ignored_tasks` are of no metric version;
    of a run with `limit` there is no score. `likelihoods` are those of evaluation.likelihood, where
    the per-example answers are known.
    """

    ignored_tasks: list[str] = []
    centered: dict[str, float] = {}
    suite: str = "full"
    suite_hash: str | None = None
    limit: int | None = None
    likelihoods: dict[str, Any] | None = None


class DCLMMetrics(msgspec.Struct, frozen=True):
    """The part of DCLM's eval JSON that a score is made from."""

    icl: dict[str, msgspec.Raw] = {}


class ResultsFile(msgspec.Struct, frozen=True):
    """What is read of a results.json, or of DCLM's eval JSON, which has `eval_metrics`."""

    suite: str = "full"
    suite_hash: str | None = None
    limit: int | None = None
    model_sha256: str = "unknown"
    tokenizer_sha256: str | None = None
    metric_version: str | None = None
    uuid: str | None = None  # of DCLM's file
    tasks: dict[str, msgspec.Raw] = {}
    eval_metrics: DCLMMetrics | None = None

    @property
    def suite_name(self) -> str:
        """DCLM's files hold the full suite, whatever its name there."""
        return "full" if self.eval_metrics else self.suite


def score_file(
    path: Path,
    metric_version: str = DEFAULT_METRIC_VERSION,
    *,
    examples: Path | None = None,
    suite_name: str | None = None,
    data: Path | None = None,
) -> ScoreResult:
    """The score document of a results file; raises `results_invalid` in one sentence.

    With `examples`, the records of the same run, standard errors come from the questions, and
    intervals and `likelihoods` with them; those that count bytes need the task files, in `data` or
    bundled. `suite_name` is needed for your own suite: its file. Results of a
    run with --limit get no score (every mean is None): they are a sample of the tasks.
    """
    if metric_version not in METRIC_VERSIONS:
        known = " and ".join(METRIC_VERSIONS)
        raise Failure("results_invalid", f"there is no metric version {metric_version!r}: {known}")
    document, results = read_results(path)
    suite = _suite_of(path, document, suite_name)
    known_labels = {task.label for task in suite.tasks}
    if not known_labels & set(results):
        raise Failure("results_invalid", f"{path.name} holds no task of the suite {suite.name}")
    likelihoods = None
    if examples is None:
        score = score_results(suite, results, metric_version)
    else:
        from evaluation.answers import read_answers
        from evaluation.likelihood import likelihood_document
        from evaluation.rescore import check_records, score_with_records

        _require_same_suite(examples, document)
        answers = read_answers(examples)
        check_records(results, answers, examples.name)
        score = score_with_records(suite, results, answers, metric_version)
        likelihoods = likelihood_document(suite, examples, data, whole=document.limit is None)
    return ScoreResult(
        **structs.asdict(score if document.limit is None else _without_means(score)),
        ignored_tasks=sorted(set(results) - set(score.tasks)),
        centered={label: task.centered for label, task in score.tasks.items()},
        suite=document.suite,
        suite_hash=document.suite_hash,
        limit=document.limit,
        likelihoods=likelihoods,
    )


def _without_means(score: ScoreFigures) -> ScoreFigures:
    """Of a sample of the rows: the tasks stay, every mean over them goes."""
    means = {name: None for one in (*AGGREGATES, "mmlu") for name in (one, f"{one}_stderr")}
    return structs.replace(score, **means, intervals={}, categories=dict.fromkeys(score.categories))


def read_results(path: Path) -> tuple[ResultsFile, dict[str, TaskResult]]:
    """A results file and its tasks' values; raises `results_invalid`."""
    document = read(ResultsFile, path, code="results_invalid")
    values = document.eval_metrics.icl if document.eval_metrics else document.tasks
    if not values:
        raise Failure("results_invalid", f"{path.name} holds no task results")
    return document, {label: _task_result(path, label, value) for label, value in values.items()}


def _suite_of(path: Path, document: ResultsFile, asked: str | None) -> Suite:
    """The suite of the results: all 53 tasks for `core`, because a score names what is missing.

    Results of other task files or prompts than this version's would get a wrong name, so the hash
    of the suite must be the same.
    """
    name = document.suite_name
    if name not in SUITE_NAMES and asked is None:
        raise Failure(
            "results_invalid",
            f"{path.name} names an unknown suite {name!r}: give your own suite's file with --suite",
        )
    suite = load_suite(asked or name)
    if suite.name != name:
        raise Failure("results_invalid", f"{path.name} is of the suite {name}, not {suite.name}")
    found = document.suite_hash
    if found is not None and found != suite.hash:
        raise Failure(
            "results_invalid",
            f"{path.name} belongs to another version of the suite {name} "
            f"({found[:12]}, here {suite.hash[:12]})",
        )
    return load_suite("full") if name == "core" else suite


def _require_same_suite(examples: Path, document: ResultsFile) -> None:
    """Refuses records of another version of the suite; those in JSON lines do not name it."""
    from evaluation.records import suite_hash_of

    found = suite_hash_of(examples) if examples.suffix == ".parquet" else ""
    if found and document.suite_hash and found != document.suite_hash:
        raise Failure(
            "results_invalid",
            f"{examples.name} answers another version of the suite ({found[:12]}) than the results "
            f"({document.suite_hash[:12]})",
        )


def _task_result(path: Path, label: str, value: msgspec.Raw) -> TaskResult:
    """A bare accuracy (DCLM) or our object with score, n and stderr."""
    where = f"{path.name}: {label}"
    kind: Any = Share | TaskFigures
    found: float | TaskFigures = decode(kind, value, code="results_invalid", where=where)
    if isinstance(found, TaskFigures):
        return TaskResult(found.score, found.n, found.stderr)
    return TaskResult(found)


def stage(job: Job) -> StageResult[ScoreResult]:
    """Scores what the evaluate stage wrote, and keeps its records in a compact form."""
    from evaluation.records import RECORDS, read_records, write_records

    results = job.inputs["results"].verified(file_sha256)
    examples = job.inputs["examples"].verified(file_sha256)
    version = job.parameters.get("metric_version", DEFAULT_METRIC_VERSION)
    own_suite, data = job.parameters.get("suite"), job.parameters.get("data")
    job.progress(0, 2, "step", "records")
    records = job.output / RECORDS
    suite_hash = read_results(results)[0].suite_hash or ""
    write_records(records, read_records(examples), suite_hash)
    job.progress(1, 2, "step", "score")
    folder = Path(data) if data else None
    score = score_file(results, version, examples=records, suite_name=own_suite, data=folder)
    path = job.output / "score.json"
    write_json_atomically(path, score)
    job.progress(2, 2, "step", "done")
    outputs = {
        name: Artifact(made.as_uri(), file_sha256(made))
        for name, made in (("score", path), ("records", records))
    }
    return StageResult(outputs, score)


if __name__ == "__main__":
    sys.exit(run_stage(stage))
