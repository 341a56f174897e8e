"""Results in, score out: reads our own results.json and DCLM's eval JSON; needs no torch.

As a stage: input `results`, parameter `metric_version`, output `score` (score.json).
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from evaluation.metrics import (
    DEFAULT_METRIC_VERSION,
    METRIC_VERSIONS,
    TaskResult,
    score_results,
)
from evaluation.suite import SUITE_NAMES, load_suite
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.job import Artifact, Job, StageResult, run_stage, write_json_atomically


def score_file(path: Path, metric_version: str = DEFAULT_METRIC_VERSION) -> dict[str, Any]:
    """The score document of a results file; raises `results_invalid` in one sentence.

    Results of a run with --limit get no score (every mean is None): they are a sample of the tasks.
    """
    if metric_version not in METRIC_VERSIONS:
        known = " and ".join(METRIC_VERSIONS)
        raise Failure("results_invalid", f"there is no metric version {metric_version!r}: {known}")
    document = _read_object(path)
    if "eval_metrics" in document:  # DCLM's schema
        metrics = document["eval_metrics"]
        values = metrics.get("icl") if isinstance(metrics, dict) else None
        suite_name, limit = "full", None
    else:
        values = document.get("tasks")
        suite_name, limit = document.get("suite", "full"), document.get("limit")
    if not isinstance(values, dict) or not values:
        raise Failure("results_invalid", f"{path.name} holds no task results")
    if suite_name not in SUITE_NAMES:
        raise Failure("results_invalid", f"{path.name} names an unknown suite {suite_name!r}")
    _check_suite_hash(path, document, suite_name)
    results = {label: _task_result(path, label, value) for label, value in values.items()}
    suite = load_suite("smoke" if suite_name == "smoke" else "full")
    known_labels = {task.label for task in suite.tasks}
    if not known_labels & set(results):
        raise Failure("results_invalid", f"{path.name} holds no task of the suite {suite_name}")
    score = score_results(suite, results, metric_version)
    if limit is not None:
        for name in ("core", "extended", "mmlu", "smoke"):
            score[name] = None
            score.pop(f"{name}_stderr", None)
        score["categories"] = dict.fromkeys(score["categories"])
    suite_hash = document.get("suite_hash")
    return score | {"suite": suite_name, "suite_hash": suite_hash, "limit": limit}


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


def _check_suite_hash(path: Path, document: dict[str, Any], suite_name: str) -> None:
    """Results of other task files or prompts than this version's would get a wrong name."""
    found = document.get("suite_hash")
    expected = load_suite(suite_name).hash
    if found is not None and found != expected:
        raise Failure(
            "results_invalid",
            f"{path.name} was made with another version of the suite {suite_name} "
            f"({str(found)[:12]}, here {expected[:12]})",
        )


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
    """Scores the results that the evaluate stage wrote."""
    results = job.inputs["results"].verified(file_sha256)
    version = job.parameters.get("metric_version", DEFAULT_METRIC_VERSION)
    score = score_file(results, version)
    path = job.output / "score.json"
    write_json_atomically(path, score)
    return StageResult({"score": Artifact(path.as_uri(), file_sha256(path))}, score)


if __name__ == "__main__":
    sys.exit(run_stage(stage))
