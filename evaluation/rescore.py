"""Scores from stored values and records: under any metric version, without a model or a GPU."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from evaluation.answers import Answers
from evaluation.metrics import ScoreFigures, TaskResult, score_results
from evaluation.proportions import result_of, task_statistics
from evaluation.statistics import estimates
from evaluation.suite import Suite
from submissions.failures import Failure

CLOSE = 1e-9  # two ways of averaging the same bits


def score_with_records(
    suite: Suite, results: Mapping[str, TaskResult], answers: Answers, metric_version: str
) -> ScoreFigures:
    """The score with the figures that need the per-example answers.

    Added are `intervals` (95 %, by bootstrap over the questions) and for each task `interval` and
    `chance_p`; the means' standard errors take into account that some tasks ask the same questions.
    """
    score = score_results(suite, results, metric_version)
    answered = {label: answers[label] for label in score.tasks}
    found = estimates(suite, answered, metric_version)
    tasks = dict(score.tasks)
    for task in suite.tasks:
        if task.label in answered:
            known = task_statistics(task, answered[task.label], metric_version)
            tasks[task.label] = structs.replace(
                tasks[task.label], interval=known.interval, chance_p=known.chance_p
            )
    return structs.replace(
        score,
        tasks=tasks,
        intervals={name: one.interval for name, one in found.items() if one.interval},
        **{f"{name}_stderr": one.stderr for name, one in found.items()},
    )


def results_of(answers: Answers) -> dict[str, TaskResult]:
    """Each task's score as the records alone give it."""
    return {label: result_of(task) for label, task in answers.items()}


def check_records(results: Mapping[str, TaskResult], answers: Answers, name: str) -> None:
    """Raises `results_invalid` where the records are not those of the results."""
    for label, result in results.items():
        if label not in answers:
            raise Failure("results_invalid", f"{name} holds no answers to {label}")
        found = result_of(answers[label])
        if abs(found.score - result.score) > CLOSE or result.n not in (None, found.n):
            raise Failure(
                "results_invalid",
                f"{name} is of another run: {label} is {found.score:.6f} of {found.n} there, "
                f"{result.score:.6f} of {result.n} in the results",
            )
