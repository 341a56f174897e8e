"""The columns of a board beside rank, name and score: what each shows and how it sorts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models.fields.json import KeyTransform

from crucible.boards.predictions import Prediction, has_calibration, target_of
from crucible.filters import figure, percent, scientific
from crucible.leaderboard.models import Score
from crucible.leaderboard.suites import board_suite
from evaluation.metrics import headline

CATEGORY, TASK, PREDICTED = "category:", "task:", "predicted"
MOST_CHOSEN = 12  # columns at once


@dataclass(frozen=True)
class Column:
    """`name` stands in addresses; `field` is of `ShownScore` and `ShownBaseline`, or empty.

    `text` makes the cell of a value that is known. `from_tasks` is the path in a score's JSON.
    """

    name: str
    title: str
    text: Callable[[Any], str]
    field: str = ""
    from_tasks: tuple[str, str] | None = None


def _plain(value: Any) -> str:
    return str(value)


def _loss(value: float) -> str:
    return f"{value:.3f}"


def _hash(value: str) -> str:
    return value[:12]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


ALWAYS = (
    Column("tokens", "Tokens", figure, "tokens"),
    Column("unique", "Unique tokens", figure, "unique_tokens"),
    Column("epochs", "Epochs", figure, "epochs"),
    Column("flops", "Training FLOPs", scientific, "flops"),
    Column("hours", "Hours of all stages", _hours, "seconds"),
    Column("seed", "Seed", _plain, "seed"),
    Column("dataset", "Dataset hash", _hash, "manifest_sha256"),
    Column("commit", "Commit", _hash, "code_commit"),
)
LOSS = Column("loss", "Loss", _loss, "loss")
OF_CORE = (
    Column("extended", "EXTENDED", percent, "extended"),
    Column("mmlu", "MMLU", percent, "mmlu"),
)


def _predicted(value: Prediction) -> str:
    measured = "" if value.measured is None else f"measured {percent(value.measured)}"
    if value.value is None:
        return measured or "–"
    predicted = f"{percent(value.value)} ± {percent(value.half_width)}"
    return f"{predicted} ({measured})" if measured else predicted


def columns_of(scale: str) -> dict[str, Column]:
    """Every column that a board of this scale can show, by name and in order."""
    suite = board_suite(scale)
    found = [*(OF_CORE if headline(suite) == "CORE" else ()), LOSS, *ALWAYS]
    if has_calibration(scale):
        found.append(Column(PREDICTED, f"Predicted at {target_of(scale)} (90 %)", _predicted))
    found += [
        Column(f"{CATEGORY}{name}", name.capitalize(), percent, from_tasks=("categories", name))
        for name in sorted({task.category for task in suite.tasks})
    ]
    found += [
        Column(f"{TASK}{task.label}", task.label, percent, from_tasks=("tasks", task.label))
        for task in suite.tasks
    ]
    return {column.name: column for column in found}


def default_columns(label: str) -> tuple[str, ...]:
    """Those that a board shows unless others are chosen."""
    return ("extended", "mmlu", "loss") if label == "CORE" else ("loss",)


def values_from_tasks(
    column: Column, metric_version: str, submissions: list[int]
) -> dict[int, float | None]:
    """A category's mean or a task's accuracy of each submission, out of the stored scores."""
    assert column.from_tasks is not None
    where, name = column.from_tasks
    value = KeyTransform(name, where)
    if where == "tasks":
        value = KeyTransform("score", value)
    found = Score.objects.filter(submission__in=submissions, metric_version=metric_version)
    return dict(found.order_by().annotate(found=value).values_list("submission_id", "found"))
