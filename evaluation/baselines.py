"""Results of others as rows beside a board's entries: DCLM's published ones, and models of anybody.

DCLM published accuracies and no single answers: intervals come from the number of rows of each
task, as if its answers were independent. A run that departed from the scale's recipe says so. A
model that an organiser evaluated has the intervals of its own answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from evaluation.metrics import ScoreFigures, TaskResult, Z, score_results
from evaluation.results import EvaluateResult
from evaluation.score import read_results, score_file
from evaluation.suite import Suite, load_suite
from evaluation.suite_file import METRIC_VERSIONS
from evaluation.transfer.checkout import PublishedEval, evals_of_checkout
from submissions.codec import read
from submissions.failures import Failure
from training_recipes.scales import Scale, load_scale

ORIGIN = "DCLM"
HERE = "this site"  # the origin of models that an organiser evaluated
SOURCE = "https://github.com/mlfoundations/dclm, exp_data"
# The words of a deviation, by DCLM's name of the hyperparameter.
WORDS = {
    "lr": "learning rate",
    "wd": "weight decay",
    "cd": "learning rate at the end",
    "warmup": "warm-up steps",
    "global_bs": "batch",
    "z_loss": "z-loss",
}
# Questions of the files that the suite does not count. Source: DCLM's eval/eval_meta_data.csv.
DATAPOINTS = {
    "mmlu_zeroshot": 14_042, "mmlu_fewshot": 14_042, "hellaswag_zeroshot": 10_042,
    "hellaswag": 10_042, "bigbench_elementary_math_qa": 38_160, "squad": 10_570, "coqa": 7_983,
    "bbq": 58_492,
}  # fmt: skip
ALTERED = "weights averaged, losses masked or another tokenizer"


@dataclass(frozen=True)
class Baseline:
    """One published run. `scores` are by metric version; `deviations` are from the recipe."""

    origin: str
    reference: str
    name: str
    scale: str
    seed: int | None
    made_at: str
    source: str
    scores: dict[str, ScoreFigures]
    deviations: tuple[str, ...]


def baselines_of_checkout(checkout: Path) -> list[Baseline]:
    """Every published run at one of the competition's scales, by file name.

    Raises `checkout_invalid` as `evals_of_checkout` does.
    """
    suite = load_suite("full")
    return [_baseline(suite, one) for one in evals_of_checkout(checkout)]


def _baseline(suite: Suite, one: PublishedEval) -> Baseline:
    results = results_with_errors(suite, one.accuracies)
    return Baseline(
        origin=ORIGIN,
        reference=one.evaluation,
        name=one.dataset,
        scale=one.scale,
        seed=one.seed,
        made_at=one.made_at,
        source=f"{SOURCE}/evals/{one.name}",
        scores={
            version: with_intervals(score_results(suite, results, version))
            for version in METRIC_VERSIONS
        },
        deviations=_deviations(one, load_scale(one.scale)),
    )


def baseline_of_results(
    results: Path, examples: Path, *, name: str, scale: str, trained: str, source: str = ""
) -> Baseline:
    """A model that `crucible evaluate` asked the whole suite full, to show at a scale.

    `trained` says in a few words how, in place of the scale's recipe; without `source` its files'
    hash stands there. The same model at the same scale has the same `reference`. Raises
    `results_invalid` for a sample of the rows, for missing tasks, for answers that are not those of
    the results, and where an audit found a difference; `unknown_scale`.
    """
    document, _ = read_results(results)
    figures = read(EvaluateResult, results, code="results_invalid")
    audit = figures.audit
    if audit is not None and not audit.ok:
        raise Failure("results_invalid", f"{results.name}: its audit found other answers")
    if document.limit is not None:
        raise Failure(
            "results_invalid",
            f"{results.name} has the first {document.limit} rows of a task only",
        )
    scores = {
        version: score_file(results, version, examples=examples) for version in METRIC_VERSIONS
    }
    for score in scores.values():
        if score.label != "CORE":
            raise Failure("results_invalid", f"{results.name} is of the suite {score.suite}: "
                          "boards with baselines rank by CORE")  # fmt: skip
        if score.core is None:
            lacking = ", ".join(score.missing_tasks[:5])
            raise Failure("results_invalid", f"{results.name} gives no CORE: it lacks {lacking}")
    model, fields = document.model_sha256, ScoreFigures.__struct_fields__
    made = datetime.fromtimestamp(results.stat().st_mtime, UTC)
    return Baseline(
        origin=HERE,
        reference=f"{load_scale(scale).name}/{model}",
        name=name,
        scale=load_scale(scale).name,
        seed=None,
        made_at=f"{made:%Y_%m_%d}",
        source=source or f"model {model}, engine {figures.engine}, {figures.precision}",
        scores={
            version: ScoreFigures(**{field: getattr(score, field) for field in fields})
            for version, score in scores.items()
        },
        deviations=(trained,),
    )


def results_with_errors(suite: Suite, accuracies: Mapping[str, float]) -> dict[str, TaskResult]:
    """Each task's accuracy with the binomial error of its number of rows."""
    found = {}
    for task in suite.tasks:
        if task.label in accuracies:
            accuracy, rows = accuracies[task.label], task.rows or DATAPOINTS[task.label]
            found[task.label] = TaskResult(accuracy, rows, _error(accuracy, rows))
    return found


def with_intervals(score: ScoreFigures) -> ScoreFigures:
    """The same with the 95 % interval of each mean, from its standard error."""
    intervals = {}
    for name in ("core", "extended", "mmlu"):
        value, error = getattr(score, name), getattr(score, f"{name}_stderr")
        if value is not None and error is not None:
            intervals[name] = (value - Z * error, value + Z * error)
    return structs.replace(score, intervals=intervals)


def _error(accuracy: float, rows: int) -> float:
    """Of Wilson's interval, so that an accuracy of 0 or 1 is not certain."""
    squared = Z * Z
    spread = accuracy * (1 - accuracy) / rows + squared / (4 * rows * rows)
    return math.sqrt(spread) / (1 + squared / rows)


def _deviations(one: PublishedEval, scale: Scale) -> tuple[str, ...]:
    ours = scale.optimizer
    fixed = {
        "lr": ours.lr, "wd": ours.weight_decay, "cd": ours.cooldown, "warmup": ours.warmup,
        "global_bs": ours.global_batch, "z_loss": ours.z_loss,
    }  # fmt: skip
    found = [
        f"{WORDS[name]} {value:g}, not {fixed[name]:g}"
        for name, value in one.recipe.items()
        if not math.isclose(value, fixed[name], rel_tol=1e-6)
    ]
    return (*found, *([ALTERED] if one.altered else []))
