"""Results as an eval JSON of DCLM, for its aggregation script and its experiment database.

The keys and their forms are those of the files in DCLM's exp_data/evals, as
eval/eval_openlm_ckpt.py and eval/aggregated_metrics.py (commit 361714b) write them. DCLM's script
recomputes every aggregate from `eval_metrics.icl`; the aggregates here are ours, so that running it
compares the two. Left out are perplexities, which Crucible does not measure, the groups rw_small,
95%_CI_above and 99%_CI_above, and any mean of which a task is missing: DCLM's are partial then.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.metrics import DEFAULT_METRIC_VERSION, TaskResult, score_results
from evaluation.score import ResultsFile, read_results
from evaluation.suite import load_suite
from evaluation.suite_file import METRIC_VERSIONS
from submissions.failures import Failure
from submissions.job import write_json_atomically


def write_dclm_json(results: Path, target: Path) -> None:
    """Writes `target` from a results.json of one of DCLM's suites.

    Raises `results_invalid` for another suite or a run with --limit: DCLM's form has neither.
    """
    document, values = read_results(results)
    if document.suite not in ("core", "full") or document.limit is not None:
        raise Failure(
            "results_invalid",
            f"{results.name} is not a whole run of core or full: DCLM's JSON needs one",
        )
    write_json_atomically(target, dclm_document(document, values))


def dclm_document(document: ResultsFile, values: Mapping[str, TaskResult]) -> dict[str, Any]:
    """The eval JSON of a results document, whose tasks have these `values`."""
    suite = load_suite("full")
    icl = {task.label: values[task.label].score for task in suite.tasks if task.label in values}
    missing = [task.label for task in suite.tasks if task.label not in icl]
    core = [task.label for task in suite.tasks if task.core]
    scores = {version: score_results(suite, values, version) for version in METRIC_VERSIONS}
    default = scores[DEFAULT_METRIC_VERSION]
    model = document.model_sha256
    found: dict[str, Any] = {
        "name": "heavy",  # the name of DCLM's suite file
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{model}/{document.suite_hash}")),
        "model": model,
        "creation_date": datetime.now(UTC).strftime("%Y_%m_%d-%H_%M_%S"),
        "eval_metrics": {"icl": icl},
        "missing tasks": str(missing),
        "aggregated_task_categories_centered": default.categories,
        "aggregated_centered_results": default.extended,
        "aggregated_results": _mean(icl, [task.label for task in suite.tasks]),
        "low_variance_datasets": _mean(icl, core),
        "low_variance_datasets_centered": default.core,
        "eval_version": DEFAULT_METRIC_VERSION,
    }
    missing_core = [label for label in core if label not in icl]
    for name, absent in (("Core", missing_core), ("Extended", missing)):
        for version in METRIC_VERSIONS:
            score = scores[version]
            value = score.core if name == "Core" else score.extended
            found[f"{name}_{version}"] = f"N/A due to missing tasks: {absent}" if absent else value
        found[name] = found[f"{name}_{DEFAULT_METRIC_VERSION}"]
    return {key: value for key, value in found.items() if value is not None}


def _mean(values: Mapping[str, float], labels: list[str]) -> float | None:
    if any(label not in values for label in labels):
        return None
    return math.fsum(values[label] for label in labels) / len(labels)
