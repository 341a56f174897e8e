"""Published results as rows beside a board's entries: DCLM's, out of a checkout of its repository.

Accuracies were published, single answers were not: intervals come from the number of rows of each
task, as if its answers were independent. A run that departed from the scale's recipe says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from evaluation.metrics import ScoreFigures, TaskResult, Z, score_results
from evaluation.suite import Suite, load_suite
from evaluation.suite_file import METRIC_VERSIONS
from evaluation.transfer.checkout import PublishedEval, evals_of_checkout
from training_recipes.scales import Scale, load_scale

ORIGIN = "DCLM"
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
