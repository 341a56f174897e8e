"""What the page of a submission shows, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import prefetch_related_objects

from crucible.boards.comparison import Siblings, runs_with_other_seeds
from crucible.boards.spreads import board_spread
from crucible.budgets.models import Entry
from crucible.budgets.selectors import charge_of
from crucible.entries.models import Event, Submission
from crucible.entries.selectors import may_look_inside
from crucible.intake.services import may_be_cancelled, may_be_retried
from crucible.jobs.selectors import results_of
from crucible.leaderboard.models import Score
from crucible.leaderboard.selectors import scores_of
from crucible.leaderboard.suites import suite_of_score
from crucible.pages.stages import Spent, StageView, spent_on, stages_of, waiting_for
from crucible.plots import Dot, LinePlot, dots_on_one_axis, interval_of, loss_plot
from crucible.profiles.selectors import profile_of_submission
from crucible.review.selectors import leaked_tasks
from evaluation.metrics import TaskScore, centred_error
from evaluation.results import EvaluateResult
from evaluation.run_spread import WholeError, score_with_runs
from evaluation.statistics import Estimate
from submissions.codec import convert
from submissions.job import ResultDocument
from submissions.states import Stage, State
from submissions.validate import ValidateResult
from training_recipes.results import TokenizeResult, TrainResult

CHANCE_LEVEL = 0.05  # one-sided, of a single task
Figures = TypeVar("Figures")


@dataclass(frozen=True)
class SubmissionPage:
    """Everything beside the submission's own fields; `inside`: the visitor may see logs and events.

    What only the owner and staff see is empty for others.
    """

    inside: bool
    waiting_for: str
    may_cancel: bool
    may_retry: bool
    charge: Entry | None
    spent: Spent | None
    stages: list[StageView]
    score: Score | None
    other_versions: list[Score]
    siblings: Siblings | None
    whole: WholeError | None
    tasks: list[TaskRow]
    validate: ValidateResult | None
    train: TrainResult | None
    evaluate: EvaluateResult | None
    mixture: list[MixedSource]
    mixture_counted: bool
    loss: LinePlot | None
    leaks: list[str] | None
    profiled: bool
    events: Sequence[Event]
    versions: list[tuple[str, str]]


@dataclass(frozen=True)
class TaskRow:
    """One task of a score, and where it stands on the axis of all tasks."""

    label: str
    score: TaskScore
    dot: Dot | None

    @property
    def beats_chance(self) -> bool | None:
        """Whether the answers show more than guessing; None where that is not known."""
        p = self.score.chance_p
        return None if p is None else p < CHANCE_LEVEL


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
    train = _figures(results, Stage.TRAIN, TrainResult)
    score, other_versions = scores_of(submission)
    return SubmissionPage(
        inside=inside,
        waiting_for=waiting_for(submission),
        may_cancel=may_be_cancelled(submission, visitor),
        may_retry=inside and may_be_retried(submission, visitor),
        charge=charge_of(submission) if inside else None,
        spent=spent_on(submission) if inside else None,
        stages=stages_of(submission, with_logs=inside),
        score=score,
        other_versions=other_versions,
        siblings=runs_with_other_seeds(score) if score else None,
        whole=_whole(submission, score),
        tasks=task_rows(score) if score else [],
        validate=_figures(results, Stage.VALIDATE, ValidateResult),
        train=train,
        evaluate=_figures(results, Stage.EVALUATE, EvaluateResult),
        mixture=mixture,
        mixture_counted=mixture_counted,
        loss=loss_plot(train.loss_curve) if train else None,
        leaks=leaked_tasks(submission),
        profiled=profile_of_submission(submission) is not None,
        events=list(submission.events.all()) if inside else [],
        versions=_versions(score),
    )


def _whole(submission: Submission, score: Score | None) -> WholeError | None:
    """The errors of a published score, the runs' among them; None where that is not known."""
    suite = suite_of_score(score) if score and score.value is not None else None
    if score is None or suite is None or submission.state != State.PUBLISHED:
        return None
    spread = board_spread(submission.track, submission.scale, suite)
    if spread is None:
        return None
    return score_with_runs(Estimate(score.value or 0.0, score.stderr, None), spread)


def _versions(score: Score | None) -> list[tuple[str, str]]:
    """Of libraries; the commit has a row of its own."""
    found = score.versions if score else {}
    return sorted((name, version) for name, version in found.items() if name != "commit")


def _figures(
    results: Mapping[Stage, ResultDocument], stage: Stage, kind: type[Figures]
) -> Figures | None:
    return results[stage].figures_as(kind) if stage in results else None


def task_rows(score: Score) -> list[TaskRow]:
    """The tasks of a score by name, each with its dot on a shared axis."""
    where = f"the score of submission {score.submission_id}, tasks"
    found = convert(dict[str, TaskScore], score.tasks, code="artifact_corrupt", where=where)
    # By name: PostgreSQL's jsonb keeps no order of its own.
    tasks = sorted(found.items())
    dots = dots_on_one_axis([(task.centered, _centred_interval(task)) for _, task in tasks])
    return [
        TaskRow(label, task, dot) for (label, task), dot in zip(tasks, dots, strict=True)
    ]  # fmt: skip


def _centred_interval(task: TaskScore) -> tuple[float, float] | None:
    if task.interval is None:
        return interval_of(task.centered, centred_error(task.stderr, task.baseline))
    low, high = ((edge - task.baseline) / (1 - task.baseline) for edge in task.interval)
    return low, high


def mixture_of(results: Mapping[Stage, ResultDocument]) -> tuple[list[MixedSource], bool]:
    """The sources of a mixture, none without one; and whether they were counted by tokenize."""
    counted = _figures(results, Stage.TOKENIZE, TokenizeResult)
    if counted is not None and counted.sources:
        return [
            MixedSource(one.name, one.weight, one.documents, one.tokens, one.epochs)
            for one in counted.sources
        ], True
    estimated = _figures(results, Stage.VALIDATE, ValidateResult)
    return [
        MixedSource(
            one.name, one.weight, one.documents, one.tokens_estimate, one.epochs_estimate
        )
        for one in (estimated.sources if estimated else [])
    ], False  # fmt: skip
