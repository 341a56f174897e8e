"""The rows of a board: the published submissions in order, with ranks and rank intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet
from django.urls import reverse

from crucible.boards.places import places_on_board
from crucible.leaderboard.models import RANKING, Score, figure_of
from crucible.leaderboard.suites import board_suite
from crucible.review.selectors import Marks, marks_of
from evaluation.metrics import DEFAULT_METRIC_VERSION, MMLU, aggregates
from evaluation.suite import Suite
from evaluation.ties import Places
from submissions.states import State
from training_recipes.scales import load_scale


class Entry(NamedTuple):
    """A published score as its board shows it. `value` is what ranks, `figure` its field's name.

    Not a model, because boards are long: reading a thousand of these takes a quarter of the time.
    """

    submission_id: int
    name: str
    user: str
    created_at: datetime
    comparable: bool  # made with the board's version of the recipe and the suite
    label: str
    figure: str
    value: float | None
    stderr: float | None
    interval: tuple[float, float] | None
    core: float | None
    smoke: float | None
    mean: float | None
    extended: float | None
    mmlu: float | None
    records_sha256: str
    loss: float
    epochs: float | None

    @property
    def read_again(self) -> bool:
        """Whether training read some of the data more than once."""
        return self.epochs is not None and self.epochs > 1


class Row(NamedTuple):
    """A row of the board; `rank` is None if there is no figure to rank by.

    `places` is the rank interval. `marks` come from reviewers. `withheld` are the names of the
    means that contain a task which reviewers excluded.
    """

    rank: int | None
    places: Places | None
    entry: Entry
    marks: Marks | None
    withheld: frozenset[str]

    @property
    def value(self) -> float | None:
        """The figure that ranks, unless it is withheld."""
        return None if self.entry.figure in self.withheld else self.entry.value


def competition_ranks(values: Sequence[float | None]) -> list[int | None]:
    """Ranks of values sorted from the best to the worst, None last: 1, 2, 2, 4, None."""
    ranks: list[int | None] = []
    for position, value in enumerate(values):
        if value is None:
            ranks.append(None)
        elif position and value == values[position - 1]:
            ranks.append(ranks[-1])
        else:
            ranks.append(position + 1)
    return ranks


def leaderboard_rows(
    *, track: str, scale: str, metric_version: str = DEFAULT_METRIC_VERSION,
    with_marked: bool = True,
) -> list[Row]:  # fmt: skip
    """Published submissions: the best first, unranked ones last; equal scores share a rank.

    Without the marked rows, the others are ranked as if the marked ones did not exist.
    """
    suite = board_suite(scale)
    scores = Score.objects.filter(
        submission__state=State.PUBLISHED, submission__track=track, submission__scale=scale,
        metric_version=metric_version,
    )  # fmt: skip
    marks = marks_of(scores.values("submission"))
    if not with_marked:
        scores = scores.exclude(submission__in=marks)
    withheld = {number: means_with(suite, mark.excluded) for number, mark in marks.items()}
    entries = _entries(scores, load_scale(scale).recipe_sha256, suite.hash)
    values = {entry.submission_id: _ranks_by(entry, withheld) for entry in entries}
    entries.sort(key=lambda e: (values[e.submission_id] is None, -(values[e.submission_id] or 0.0),
                                e.submission_id))  # fmt: skip
    ranks = competition_ranks([values[entry.submission_id] for entry in entries])
    ranked = [entry for entry in entries if values[entry.submission_id] is not None]
    places = places_on_board(suite, metric_version, ranked)
    places += [None] * (len(entries) - len(ranked))
    nothing: frozenset[str] = frozenset()
    return [
        Row(rank, open_places, entry, marks.get(entry.submission_id),
            withheld.get(entry.submission_id, nothing))
        for rank, open_places, entry in zip(ranks, places, entries, strict=True)
    ]  # fmt: skip


def _entries(scores: QuerySet[Score], recipe: str, suite: str) -> list[Entry]:
    """What the board shows of each score, unordered."""
    found = scores.order_by().values(
        "submission_id", "created_at", "label", *RANKING, *(f"{name}_stderr" for name in RANKING),
        "extended", "mmlu", "intervals", "records_sha256", "loss", "epochs",
        name=F("submission__name"), user=F("submission__user__username"),
        comparable=Q(recipe_sha256=recipe, suite_sha256=suite),
    )  # fmt: skip
    entries = []
    for row in found:
        figure = figure_of(row["label"])
        errors = {name: row.pop(f"{name}_stderr") for name in RANKING}
        known = row.pop("intervals").get(figure)
        interval = (known[0], known[1]) if known else None
        one = {"figure": figure, "value": row[figure], "stderr": errors[figure]}
        entries.append(Entry(**row, **one, interval=interval))
    return entries


def _ranks_by(entry: Entry, withheld: Mapping[int, frozenset[str]]) -> float | None:
    """The figure that ranks a score; None if it is not ranked."""
    counts = entry.comparable and entry.figure not in withheld.get(entry.submission_id, ())
    return entry.value if counts else None


def means_with(suite: Suite, excluded: Sequence[str]) -> frozenset[str]:
    """The means of the suite, and MMLU, that contain one of these tasks: no mean is partial."""
    found = frozenset(
        name
        for name, tasks in aggregates(suite).items()
        if any(task.label in excluded for task in tasks)
    )
    return found | {"mmlu"} if MMLU in excluded else found


def row_documents(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The API's form of rows."""
    address = reverse("submissions")  # `reverse` for each row would take longer than all the rest
    return [_row_document(row, f"{address}{row.entry.submission_id}/") for row in rows]


def _row_document(row: Row, address: str) -> dict[str, Any]:
    entry = row.entry
    return {
        "rank": row.rank,
        "comparable": entry.comparable,
        "id": entry.submission_id,
        "name": entry.name,
        "user": entry.user,
        "score": row.value,
        "score_label": entry.label,
        "stderr": entry.stderr,
        "interval": entry.interval,
        "places": [row.places.best, row.places.worst] if row.places else None,
        **{
            name: None if name in row.withheld else getattr(entry, name)
            for name in ("core", "extended", "mmlu", "smoke", "mean")
        },
        "marks": vars(row.marks) if row.marks else None,
        "loss": entry.loss,
        "epochs": entry.epochs,
        "published_at": entry.created_at.isoformat(),
        "url": address,
    }
