"""Results in, score out: reads our own results.json and DCLM's eval JSON; needs no torch.

As a stage: inputs `results` and `examples`; parameters `metric_version`, `suite` (of an
organiser's own file); outputs `score` (score.json) and `records` (records.parquet).
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from evaluation.metrics import (
    AGGREGATES,
    DEFAULT_METRIC_VERSION,
    METRIC_VERSIONS,
    TaskResult,
    score_results,
)
from evaluation.suite import SUITE_NAMES, Suite, load_suite
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.job import Artifact, Job, StageResult, run_stage, write_json_atomically


def score_file(
    path: Path,
    metric_version: str = DEFAULT_METRIC_VERSION,
    *,
    examples: Path | None = None,
    suite_name: str | None = None,
) -> dict[str, Any]:
    """The score document of a results file; raises `results_invalid` in one sentence.

    With `examples`, the records of the same run, standard errors come from the questions, and
    intervals with them. `suite_name` is needed for a suite of one's own: its file. Results of a
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
    limit = document.get("limit")
    if examples is None:
        score = score_results(suite, results, metric_version)
    else:
        from evaluation.answers import read_answers
        from evaluation.rescore import check_records, score_with_records

        answers = read_answers(examples)
        check_records(results, answers, examples.name)
        score = score_with_records(suite, results, answers, metric_version)
    if limit is not None:
        for name in (*AGGREGATES, "mmlu"):
            score[name] = score[f"{name}_stderr"] = None
        score["intervals"] = {}
        score["categories"] = dict.fromkeys(score["categories"])
    names = {"suite": document.get("suite", "full"), "suite_hash": document.get("suite_hash")}
    return score | names | {"limit": limit}


def read_results(path: Path) -> tuple[dict[str, Any], dict[str, TaskResult]]:
    """A results file and its tasks' values; raises `results_invalid`."""
    document = _read_object(path)
    if "eval_metrics" in document:  # DCLM's schema
        metrics = document["eval_metrics"]
        values = metrics.get("icl") if isinstance(metrics, dict) else None
    else:
        values = document.get("tasks")
    if not isinstance(values, dict) or not values:
        raise Failure("results_invalid", f"{path.name} holds no task results")
    return document, {label: _task_result(path, label, value) for label, value in values.items()}


def _suite_of(path: Path, document: dict[str, Any], asked: str | None) -> Suite:
    """The suite of the results: all 53 tasks for `core`, because a score names what is missing.

    Results of other task files or prompts than this version's would get a wrong name, so the hash
    of the suite must be the same.
    """
    name = "full" if "eval_metrics" in document else document.get("suite", "full")
    if name not in SUITE_NAMES and asked is None:
        raise Failure(
            "results_invalid",
            f"{path.name} names an unknown suite {name!r}: give the file of your own with --suite",
        )
    suite = load_suite(asked or name)
    if suite.name != name:
        raise Failure("results_invalid", f"{path.name} is of the suite {name}, not {suite.name}")
    found = document.get("suite_hash")
    if found is not None and found != suite.hash:
        raise Failure(
            "results_invalid",
            f"{path.name} was made with another version of the suite {name} "
            f"({str(found)[:12]}, here {suite.hash[:12]})",
        )
    return load_suite("full") if name == "core" else suite


def _read_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise Failure("results_invalid", f"{path}: {reason.lower()}") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise Failure("results_invalid", f"{path.name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Failure("results_invalid", f"{path.name} does not hold a JSON object")
    return document


def _task_result(path: Path, label: str, value: Any) -> TaskResult:
    """A bare accuracy (DCLM) or our object with score, n and stderr."""
    entry = value if isinstance(value, dict) else {"score": value}
    score = entry.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise Failure("results_invalid", f"{path.name}: {label} has no number as its score")
    if not math.isfinite(score) or not 0 <= score <= 1:
        raise Failure("results_invalid", f"{path.name}: {label} is {score}, not between 0 and 1")
    n, stderr = entry.get("n"), entry.get("stderr")
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise Failure("results_invalid", f"{path.name}: {label} has {n!r} as its examples")
    if stderr is not None and not (
        isinstance(stderr, int | float) and math.isfinite(stderr) and stderr >= 0
    ):
        raise Failure("results_invalid", f"{path.name}: {label} has {stderr!r} as its error")
    return TaskResult(float(score), n, None if stderr is None else float(stderr))


def stage(job: Job) -> StageResult:
    """Scores what the evaluate stage wrote, and keeps its records in a compact form."""
    from evaluation.records import RECORDS, read_records, write_records

    results = job.inputs["results"].verified(file_sha256)
    examples = job.inputs["examples"].verified(file_sha256)
    version = job.parameters.get("metric_version", DEFAULT_METRIC_VERSION)
    own_suite = job.parameters.get("suite")
    job.progress(0, 2, "step", "records")
    records = job.output / RECORDS
    write_records(records, read_records(examples), str(read_results(results)[0]["suite_hash"]))
    job.progress(1, 2, "step", "score")
    score = score_file(results, version, examples=records, suite_name=own_suite)
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
