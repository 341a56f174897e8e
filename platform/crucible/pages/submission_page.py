"""What the page of a submission shows, read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import prefetch_related_objects

from crucible.boards.comparison import Siblings, runs_with_other_seeds
from crucible.budgets.models import Entry
from crucible.budgets.selectors import charge_of
from crucible.entries.models import Event, Submission
from crucible.entries.selectors import may_look_inside
from crucible.intake.services import may_be_retried
from crucible.jobs.selectors import results_of
from crucible.leaderboard.models import Score
from crucible.leaderboard.selectors import scores_of
from crucible.pages.stages import Spent, StageView, spent_on, stages_of, waiting_for
from crucible.plots import LinePlot, dots_on_one_axis, interval_of, loss_plot
from crucible.review.selectors import leaked_tasks
from evaluation.metrics import centred_error

CHANCE_LEVEL = 0.05  # one-sided, of a single task


@dataclass(frozen=True)
class SubmissionPage:
    """Everything beside the submission's own fields; `inside`: the visitor may see logs and events.

    What only the owner and staff see is empty for others.
    """

    inside: bool
    waiting_for: str
    may_retry: bool
    charge: Entry | None
    spent: Spent | None
    stages: list[StageView]
    score: Score | None
    other_versions: list[Score]
    siblings: Siblings | None
    tasks: list[dict[str, Any]]
    results: dict[str, dict[str, Any]]
    mixture: list[MixedSource]
    mixture_counted: bool
    loss: LinePlot | None
    leaks: list[str] | None
    events: Sequence[Event]
    versions: list[tuple[str, str]]


@dataclass(frozen=True)
class MixedSource:
    """A source of a mixture as the page shows it; tokens and epochs are estimates at first."""

    name: str
    weight: float
    documents: int
    tokens: int
    epochs: float | None


def submission_page(submission: Submission, visitor: Any) -> SubmissionPage:
    """The page as this visitor sees it."""
    prefetch_related_objects([submission], "attempts")
    inside = may_look_inside(visitor, submission)
    results = results_of(submission)
    mixture, mixture_counted = mixture_of(results)
    score, other_versions = scores_of(submission)
    return SubmissionPage(
        inside=inside,
        waiting_for=waiting_for(submission),
        may_retry=inside and may_be_retried(submission, visitor),
        charge=charge_of(submission) if inside else None,
        spent=spent_on(submission) if inside else None,
        stages=stages_of(submission, with_logs=inside),
        score=score,
        other_versions=other_versions,
        siblings=runs_with_other_seeds(score) if score else None,
        tasks=task_rows(score) if score else [],
        results=results,
        mixture=mixture,
        mixture_counted=mixture_counted,
        loss=loss_plot(results.get("train", {}).get("figures", {}).get("loss_curve", [])),
        leaks=leaked_tasks(submission),
        events=list(submission.events.all()) if inside else [],
        versions=_versions(score),
    )


def _versions(score: Score | None) -> list[tuple[str, str]]:
    """Of libraries; the commit has a row of its own."""
    found = score.versions if score else {}
    return sorted((name, version) for name, version in found.items() if name != "commit")


def task_rows(score: Score) -> list[dict[str, Any]]:
    """The tasks of a score by name, each with its dot on a shared axis.

    `beats_chance` is None where it is not known.
    """
    # By name: PostgreSQL's jsonb keeps no order of its own.
    tasks = [{"label": label, **value} for label, value in sorted(score.tasks.items())]
    dots = dots_on_one_axis([(task["centered"], _centred_interval(task)) for task in tasks])
    return [
        task | {"dot": dot, "beats_chance": _beats_chance(task)}
        for task, dot in zip(tasks, dots, strict=True)
    ]


def _centred_interval(task: dict[str, Any]) -> tuple[float, float] | None:
    baseline = task["baseline"]
    if task.get("interval") is None:
        return interval_of(task["centered"], centred_error(task["stderr"], baseline))
    low, high = ((edge - baseline) / (1 - baseline) for edge in task["interval"])
    return low, high


def _beats_chance(task: dict[str, Any]) -> bool | None:
    p = task.get("chance_p")
    return None if p is None else p < CHANCE_LEVEL


def mixture_of(results: dict[str, dict[str, Any]]) -> tuple[list[MixedSource], bool]:
    """The sources of a mixture, none without one; and whether they were counted by tokenize."""
    counted = results.get("tokenize", {}).get("figures", {}).get("sources")
    estimated = results.get("validate", {}).get("figures", {}).get("sources", [])
    end = "" if counted else "_estimate"
    sources = [
        MixedSource(
            source["name"],
            source["weight"],
            source["documents"],
            source[f"tokens{end}"],
            source[f"epochs{end}"],
        )
        for source in counted or estimated
    ]
    return sources, bool(counted)
