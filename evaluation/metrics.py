"""Scores from per-task results: centring, categories, CORE, EXTENDED, MMLU, and SMOKE.

centred = (accuracy − b) / (1 − b) with b = baseline / 100, where the baselines of DCLM's metric
versions v1 and v2 (eval_meta_data_v1.csv, eval_meta_data.csv) are in suites/dclm.json. CORE is
the mean of the centred scores over 22 tasks, EXTENDED over 53; MMLU is the raw mmlu_fewshot. Known
faults of a version are kept, not corrected: math_qa's baseline is 20 in v2 although each of its
questions has four choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
from msgspec import structs

from evaluation.suite import Suite, Task
from evaluation.suite_file import METRIC_VERSIONS

Z = 1.959963984540054  # the normal distribution's quantile for 95 per cent
DEFAULT_METRIC_VERSION = "v2"
MMLU = "mmlu_fewshot"
AGGREGATES = ("core", "extended", "smoke", "mean")


@dataclass(frozen=True)
class TaskResult:
    """A task's accuracy in [0, 1]; examples and standard error where they are known."""

    score: float
    n: int | None = None
    stderr: float | None = None


class TaskScore(msgspec.Struct, frozen=True):
    """One task of a score. `baseline` is a share of 1; `centered` is 0 there and 1 at perfection.

    `interval` (of the accuracy, 95 %) and `chance_p` (of random guessing, one-sided)
    are known where the per-example answers are.
    """

    score: float
    n: int | None
    stderr: float | None
    baseline: float
    centered: float
    interval: tuple[float, float] | None = None
    chance_p: float | None = None


class ScoreFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A submission's figures under a metric version: the one list of a score's fields.

    `label` says what ranks: CORE, SMOKE or the name of your own suite. The aggregates are None
    where the suite has no such mean or a task of it is missing; each has its standard error.
    `intervals` are [low, high] at 95 %, by the aggregate's name; `categories` are means of centred
    scores. What a score of an older release may lack has a default.
    """

    metric_version: str
    label: str
    core: float | None = None
    core_stderr: float | None = None
    extended: float | None = None
    extended_stderr: float | None = None
    mmlu: float | None = None
    mmlu_stderr: float | None = None
    smoke: float | None = None
    smoke_stderr: float | None = None
    mean: float | None = None
    mean_stderr: float | None = None
    intervals: dict[str, tuple[float, float]] = {}
    categories: dict[str, float | None]
    tasks: dict[str, TaskScore]
    missing_tasks: list[str] = []


def accuracy_with_error(outcomes: Mapping[str, list[bool]]) -> TaskResult:
    """Accuracy of one task from each category's outcomes (one category: the plain accuracy).

    With several categories the score is their unweighted mean, as in LLM Foundry; the error of that
    mean is the root of the summed squares over the number of categories. A standard error needs two
    examples in every category. Where no category holds both right and wrong answers, and that error
    would be 0, it is taken from Wilson's interval: a few equal answers do not make it certain.
    """
    means = [sum(values) / len(values) for values in outcomes.values()]
    errors = [
        math.sqrt(mean * (1 - mean) / (len(values) - 1)) if len(values) > 1 else None
        for mean, values in zip(means, outcomes.values(), strict=True)
    ]
    if not any(errors) and None not in errors:
        errors = [error_of_agreement(len(values)) for values in outcomes.values()]
    return TaskResult(
        score=math.fsum(means) / len(means),
        n=sum(len(values) for values in outcomes.values()),
        stderr=error_of_mean(errors),
    )


def error_of_agreement(count: int) -> float:
    """Standard error of an accuracy of 0 or 1: half of Wilson's 95 % interval over its quantile."""
    return Z / (2 * (count + Z * Z))


def error_of_mean(errors: Iterable[float | None]) -> float | None:
    """Standard error of the mean of independent figures; None when one of them is unknown."""
    known = list(errors)
    if not known or any(error is None for error in known):
        return None
    return math.sqrt(math.fsum(error * error for error in known if error is not None)) / len(known)


def centred(task: Task, accuracy: float, metric_version: str) -> float:
    """0 at the baseline, 1 at every answer right; negative below the baseline."""
    baseline = task.baselines[metric_version] / 100
    return (accuracy - baseline) / (1 - baseline)


def centred_error(stderr: float | None, baseline: float) -> float | None:
    """Standard error of a centred score from the accuracy's; `baseline` is a share, not percent."""
    return None if stderr is None else stderr / (1 - baseline)


def aggregates(suite: Suite) -> dict[str, list[Task]]:
    """The means over tasks that a suite has, by name: core and extended, smoke, or plain mean.

    CORE and EXTENDED are names of DCLM's tasks alone; your own suite has one mean, over all
    its tasks.
    """
    tasks = list(suite.tasks)
    if suite.name == "smoke":
        return {"smoke": tasks}
    if suite.name not in ("core", "full"):
        return {"mean": tasks}
    core = {"core": [task for task in tasks if task.core]}
    return core if suite.name == "core" else core | {"extended": tasks}


def headline(suite: Suite) -> str:
    """What a board of the suite ranks by: CORE, SMOKE, or the suite's name."""
    return "CORE" if suite.name in ("core", "full") else suite.name.upper()


def versions_that_differ(suite: Suite) -> list[str]:
    """The metric versions under which the suite's scores are not all the same; the default too."""
    return [
        version
        for version in METRIC_VERSIONS
        if version == DEFAULT_METRIC_VERSION
        or any(
            version in task.baselines
            and task.baselines[version] != task.baselines[DEFAULT_METRIC_VERSION]
            for task in suite.tasks
        )
    ]


def score_results(
    suite: Suite, results: Mapping[str, TaskResult], metric_version: str
) -> ScoreFigures:
    """The score of results on the tasks of `suite` (the 53, or the bundled smoke suite).

    A mean over tasks of which one is missing is None, never a partial mean, and `missing_tasks`
    names them. Errors are None where a task's is unknown; they treat the tasks as independent,
    which two tasks on the same file (hellaswag) are not quite.
    """
    tasks = {
        task.label: _task_score(results[task.label], task, metric_version)
        for task in suite.tasks
        if task.label in results
    }
    errors = {label: centred_error(task.stderr, task.baseline) for label, task in tasks.items()}

    def mean(labels: list[str]) -> tuple[float | None, float | None]:
        if not labels or any(label not in tasks for label in labels):
            return None, None
        return (
            math.fsum(tasks[label].centered for label in labels) / len(labels),
            error_of_mean(errors[label] for label in labels),
        )

    figures: dict[str, float | None] = {}
    for name, members in aggregates(suite).items():
        figures[name], figures[f"{name}_stderr"] = mean([task.label for task in members])
    if MMLU in tasks:
        figures |= {"mmlu": tasks[MMLU].score, "mmlu_stderr": tasks[MMLU].stderr}
    by_category: dict[str, list[str]] = {}
    for task in suite.tasks:
        by_category.setdefault(task.category, []).append(task.label)
    score = ScoreFigures(
        metric_version=metric_version,
        label=headline(suite),
        categories={name: mean(by_category[name])[0] for name in sorted(by_category)},
        tasks=tasks,
        missing_tasks=[task.label for task in suite.tasks if task.label not in results],
    )
    return structs.replace(score, **figures)


def _task_score(result: TaskResult, task: Task, metric_version: str) -> TaskScore:
    return TaskScore(
        score=result.score,
        n=result.n,
        stderr=result.stderr,
        baseline=task.baselines[metric_version] / 100,
        centered=centred(task, result.score, metric_version),
    )
