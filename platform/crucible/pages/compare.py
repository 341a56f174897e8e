"""The content of a comparison's page: the means and tasks of two scores side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crucible.boards.comparison import Comparison, compare
from crucible.boards.outlook import Outlook, outlook_of
from crucible.boards.rows import means_with
from crucible.boards.spreads import board_spread
from crucible.entries.models import Submission
from crucible.leaderboard.models import Score
from crucible.leaderboard.suites import suite_of_score
from crucible.plots import Dot, dots_on_one_axis, interval_of
from crucible.review.selectors import marks_of
from evaluation.metrics import DEFAULT_METRIC_VERSION
from evaluation.run_spread import WholeError, difference_with_runs, published_spread
from evaluation.statistics import Estimate
from evaluation.ties import ERROR_RATE
from submissions.failures import Failure
from submissions.states import State

OFFERED = 300  # submissions in the lists to choose from, the newest
NAMES = {"core": "CORE", "extended": "EXTENDED", "mmlu": "MMLU", "smoke": "SMOKE"}


@dataclass(frozen=True)
class Line:
    """A mean or a task: both values, and the first minus the second."""

    name: str
    one: float | None
    other: float | None
    value: float
    stderr: float | None
    interval: tuple[float, float] | None
    p: float | None
    clear: bool
    dot: Dot | None
    only_one: int | None = None
    only_other: int | None = None


@dataclass(frozen=True)
class ComparePage:
    """A comparison as lines, the tasks sorted by difference, and its result in one sentence."""

    one: Score
    other: Score
    figures: list[Line]
    tasks: list[Line]
    verdict: str
    whole: WholeError | None  # of the figure that ranks, where the spread of runs is known
    outlook: Outlook | None


def scores_to_choose(numbers: Sequence[int]) -> list[tuple[int, str]]:
    """Number and label of submissions for the lists: the newest published ones, and `numbers`."""
    published = (
        Submission.objects.filter(
            state=State.PUBLISHED, scores__metric_version=DEFAULT_METRIC_VERSION
        )
        .order_by("-id")
        .values_list("id", "name", "user__username", "track", "scale")
    )
    offered = list(published[:OFFERED])
    known = {number for number, *_ in offered}
    missing = [number for number in numbers if number not in known]
    return [
        (number, f"{name} · {user} · {track}, {scale} · {number}")
        for number, name, user, track, scale in [*offered, *published.filter(id__in=missing)]
    ]


def compare_page(one: int, other: int) -> ComparePage:
    """The comparison of two published submissions. Raises `not_found` or `refused`."""
    if one == other:
        raise Failure("refused", "choose two different submissions")
    first, second = _score(one), _score(other)
    found = _without_withheld(compare(first, second), first, second)
    whole = _whole(found, first, second)
    if whole is not None:
        known = replace(found.figures[first.figure], interval=whole.interval, p=whole.p)
        found = replace(found, figures=found.figures | {first.figure: known})
    figures, tasks = _lines(found, first, second)
    outlook = outlook_of(first, second) if "core" in found.figures else None
    verdict = _verdict(found, first, second, whole is not None)
    return ComparePage(first, second, figures, tasks, verdict, whole, outlook)


def _whole(found: Comparison, one: Score, other: Score) -> WholeError | None:
    """The errors of the difference in the figure that ranks, those of the runs among them.

    The repeats of the two submissions' board count, those of another board do not.
    """
    difference = found.figures.get(one.figure)
    suite = suite_of_score(one)
    boards = {(score.submission.track, score.submission.scale) for score in (one, other)}
    if difference is None or suite is None:
        return None
    spread = board_spread(*boards.pop(), suite) if len(boards) == 1 else None
    if spread is None and one.label == "CORE":
        spread = replace(published_spread(), borrowed=True)
    return difference_with_runs(difference, spread) if spread is not None else None


def _score(number: int) -> Score:
    score = (
        Score.objects.filter(
            submission__in=Submission.objects.filter(state=State.PUBLISHED),
            submission_id=number,
            metric_version=DEFAULT_METRIC_VERSION,
        )
        .select_related("submission", "submission__user")
        .first()
    )
    if score is None:
        raise Failure("not_found", f"there is no published submission {number}")
    return score


def _without_withheld(found: Comparison, one: Score, other: Score) -> Comparison:
    """Drops the means that contain a task which a reviewer excluded for either submission."""
    marks = marks_of([one.submission_id, other.submission_id])
    excluded = [label for mark in marks.values() for label in mark.excluded]
    suite = suite_of_score(one)
    withheld = means_with(suite, excluded) if suite is not None else frozenset()
    kept = {name: value for name, value in found.figures.items() if name not in withheld}
    return replace(found, figures=kept)


def _lines(found: Comparison, one: Score, other: Score) -> tuple[list[Line], list[Line]]:
    figures = [
        Line(
            NAMES.get(name, one.label),
            getattr(one, name),
            getattr(other, name),
            difference.value,
            difference.stderr,
            difference.interval,
            difference.p,
            _is_clear(difference),
            dot,
        )
        for (name, difference), dot in zip(
            found.figures.items(),
            dots_on_one_axis([(d.value, d.interval) for d in found.figures.values()]),
            strict=True,
        )
    ]
    ordered = sorted(found.tasks.items(), key=lambda item: (-item[1].value, item[0]))
    intervals = [interval_of(task.value, task.stderr) for _, task in ordered]
    dots = dots_on_one_axis(
        [(task.value, interval) for (_, task), interval in zip(ordered, intervals, strict=True)]
    )
    tasks = [
        Line(
            label,
            task.one,
            task.other,
            task.value,
            task.stderr,
            interval,
            task.p,
            label in found.clear,
            dot,
            task.only_one,
            task.only_other,
        )
        for (label, task), interval, dot in zip(ordered, intervals, dots, strict=True)
    ]
    return figures, tasks


def _is_clear(difference: Estimate) -> bool:
    return difference.p is not None and difference.p < ERROR_RATE


def _verdict(found: Comparison, one: Score, other: Score, whole: bool) -> str:
    """One sentence on the figure that ranks."""
    difference = found.figures.get(one.figure)
    if difference is None or difference.interval is None or difference.p is None:
        return f"Both submissions need a {one.label} to be compared."
    if not _is_clear(difference):
        return (
            f"No evidence of a difference in {one.label}: other questions of the same kind"
            f"{' or another seed' if whole else ''} could reverse the order."
        )
    better = one if difference.value > 0 else other
    return (
        f"{better.submission.name} is better in {one.label}; the choice of questions"
        f"{' and the seeds do' if whole else ' does'} not explain the difference."
    )
