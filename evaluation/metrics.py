"""Scores from per-task results: centring, categories, CORE, EXTENDED, MMLU, and SMOKE.

centred = (accuracy − b) / (1 − b) with b = baseline / 100, where the baselines of DCLM's metric
versions v1 and v2 (eval_meta_data_v1.csv, eval_meta_data.csv) stand in suites/dclm.json. CORE is
the mean of the centred scores over 22 tasks, EXTENDED over 53; MMLU is the raw mmlu_fewshot. Known
faults of a version are kept, not mended: math_qa's baseline is 20 in v2 although each of its
questions has four choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.suite import Suite, Task

METRIC_VERSIONS = ("v1", "v2")
DEFAULT_METRIC_VERSION = "v2"
MMLU = "mmlu_fewshot"
AGGREGATES = ("core", "extended", "smoke", "mean")


@dataclass(frozen=True)
class TaskResult:
    """A task's accuracy in [0, 1]; examples and standard error where they are known."""

    score: float
    n: int | None = None
    stderr: float | None = None


def accuracy_with_error(outcomes: Mapping[str, list[bool]]) -> TaskResult:
    """Accuracy of one task from each category's outcomes (one category: the plain accuracy).

    With several categories the score is their unweighted mean, as in LLM Foundry; the error of that
    mean is the root of the summed squares over the number of categories. A standard error needs two
    examples in every category.
    """
    means = [sum(values) / len(values) for values in outcomes.values()]
    errors = [
        math.sqrt(mean * (1 - mean) / (len(values) - 1)) if len(values) > 1 else None
        for mean, values in zip(means, outcomes.values(), strict=True)
    ]
    return TaskResult(
        score=math.fsum(means) / len(means),
        n=sum(len(values) for values in outcomes.values()),
        stderr=error_of_mean(errors),
    )


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

    CORE and EXTENDED are names of DCLM's tasks alone; a suite of somebody else's has one mean, over
    all its tasks.
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
) -> dict[str, Any]:
    """The score document of results on the tasks of `suite` (the 53, or the bundled smoke suite).

    A mean over tasks of which one is missing is None, never a partial mean, and `missing_tasks`
    names them. Errors are None where a task's is unknown; they treat the tasks as independent,
    which two tasks on the same file (hellaswag) are not quite.
    """
    present = {task.label: task for task in suite.tasks if task.label in results}
    values = {
        label: centred(task, results[label].score, metric_version)
        for label, task in present.items()
    }
    errors = {
        label: centred_error(results[label].stderr, task.baselines[metric_version] / 100)
        for label, task in present.items()
    }

    def mean(tasks: Iterable[Task]) -> tuple[float | None, float | None]:
        labels = [task.label for task in tasks]
        if not labels or any(label not in values for label in labels):
            return None, None
        return (
            math.fsum(values[label] for label in labels) / len(labels),
            error_of_mean(errors[label] for label in labels),
        )

    means = {name: mean(tasks) for name, tasks in aggregates(suite).items()}
    figures: dict[str, float | None] = {}
    for name in AGGREGATES:
        figures[name], figures[f"{name}_stderr"] = means.get(name, (None, None))
    mmlu = results[MMLU] if MMLU in present else None
    names = sorted({task.category for task in suite.tasks})
    return {
        "metric_version": metric_version,
        "label": headline(suite),
        **figures,
        "mmlu": mmlu.score if mmlu else None,
        "mmlu_stderr": mmlu.stderr if mmlu else None,
        "missing_tasks": [task.label for task in suite.tasks if task.label not in results],
        "ignored_tasks": sorted(set(results) - set(present)),
        "intervals": {},
        "categories": {
            name: mean(task for task in suite.tasks if task.category == name)[0] for name in names
        },
        "centered": values,
        "tasks": {
            label: {
                "score": results[label].score,
                "n": results[label].n,
                "stderr": results[label].stderr,
                "baseline": task.baselines[metric_version] / 100,
                "centered": values[label],
            }
            for label, task in present.items()
        },
    }
