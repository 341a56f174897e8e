"""The rows of a board: the published submissions in order, with ranks and rank intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet
from django.urls import reverse

from crucible.boards.places import places_on_board
from crucible.boards.spreads import board_spread
from crucible.leaderboard.models import RANKING, Score, figure_of
from crucible.leaderboard.suites import board_suite
from crucible.review.selectors import Marks, marks_of
from evaluation.metrics import DEFAULT_METRIC_VERSION, MMLU, aggregates
from evaluation.suite import Suite
from evaluation.ties import Places
from submissions.states import State
from training_recipes.scales import load_scale


class ShownScore(NamedTuple):
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
    tokens: int | None
    unique_tokens: int | None
    flops: float
    seconds: float
    seed: int
    manifest_sha256: str
    code_commit: str

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
    score: ShownScore
    marks: Marks | None
    withheld: frozenset[str]

    @property
    def value(self) -> float | None:
        """The figure that ranks, unless it is withheld."""
        return None if self.score.figure in self.withheld else self.score.value


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
    *,
    track: str,
    scale: str,
    metric_version: str = DEFAULT_METRIC_VERSION,
    with_marked: bool = True,
) -> list[Row]:
    """Published submissions: the best first, unranked ones last; equal scores share a rank.

    Without the marked rows, the others are ranked as if the marked ones did not exist.
    """
    suite = board_suite(scale)
    scores = Score.objects.filter(
        submission__state=State.PUBLISHED,
        submission__track=track,
        submission__scale=scale,
        metric_version=metric_version,
    )
    marks = marks_of(scores.values("submission"))
    if not with_marked:
        scores = scores.exclude(submission__in=marks)
    withheld = {number: means_with(suite, mark.excluded) for number, mark in marks.items()}
    shown = _shown_scores(scores, load_scale(scale).recipe_sha256, suite.hash)
    values = {score.submission_id: _ranks_by(score, withheld) for score in shown}
    shown.sort(
        key=lambda s: (
            values[s.submission_id] is None,
            -(values[s.submission_id] or 0.0),
            s.submission_id,
        )
    )
    ranks = competition_ranks([values[score.submission_id] for score in shown])
    ranked = [score for score in shown if values[score.submission_id] is not None]
    places = places_on_board(
        suite, metric_version, ranked, board_spread(track, scale, suite, metric_version)
    )
    places += [None] * (len(shown) - len(ranked))
    nothing: frozenset[str] = frozenset()
    return [
        Row(
            rank,
            open_places,
            score,
            marks.get(score.submission_id),
            withheld.get(score.submission_id, nothing),
        )
        for rank, open_places, score in zip(ranks, places, shown, strict=True)
    ]


def _shown_scores(scores: QuerySet[Score], recipe: str, suite: str) -> list[ShownScore]:
    """What the board shows of each score, unordered."""
    found = scores.order_by().values(
        "submission_id",
        "created_at",
        "label",
        *RANKING,
        *(f"{name}_stderr" for name in RANKING),
        "extended",
        "mmlu",
        "intervals",
        "records_sha256",
        "loss",
        "epochs",
        "tokens",
        "unique_tokens",
        "flops",
        "seconds",
        "seed",
        "manifest_sha256",
        "code_commit",
        name=F("submission__name"),
        user=F("submission__user__username"),
        comparable=Q(recipe_sha256=recipe, suite_sha256=suite),
    )
    shown = []
    for row in found:
        figure = figure_of(row["label"])
        errors = {name: row.pop(f"{name}_stderr") for name in RANKING}
        known = row.pop("intervals").get(figure)
        interval = (known[0], known[1]) if known else None
        one = {"figure": figure, "value": row[figure], "stderr": errors[figure]}
        shown.append(ShownScore(**row, **one, interval=interval))
    return shown


def _ranks_by(score: ShownScore, withheld: Mapping[int, frozenset[str]]) -> float | None:
    """The figure that ranks a score; None if it is not ranked."""
    counts = score.comparable and score.figure not in withheld.get(score.submission_id, ())
    return score.value if counts else None


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
    return [_row_document(row, f"{address}{row.score.submission_id}/") for row in rows]


def _row_document(row: Row, address: str) -> dict[str, Any]:
    score = row.score
    return {
        "rank": row.rank,
        "comparable": score.comparable,
        "id": score.submission_id,
        "name": score.name,
        "user": score.user,
        "score": row.value,
        "score_label": score.label,
        "stderr": score.stderr,
        "interval": score.interval,
        "places": [row.places.best, row.places.worst] if row.places else None,
        **{
            name: None if name in row.withheld else getattr(score, name)
            for name in ("core", "extended", "mmlu", "smoke", "mean")
        },
        "marks": vars(row.marks) if row.marks else None,
        "loss": score.loss,
        "epochs": score.epochs,
        "published_at": score.created_at.isoformat(),
        "url": address,
    }
