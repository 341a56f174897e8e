"""Makes a score out of the stages' results, or refuses it; and scores under other metric versions.

A metric version decides what guessing reaches, nothing else: the answers stay. So every score is
kept under each version that makes a difference to its suite, and a version that comes later is
computed from the stored values (`manage.py rescore`), without a model.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from crucible.entries.models import Submission
from crucible.leaderboard.models import Score
from crucible.leaderboard.records import answers_of_records, records_keep, soft_means
from crucible.leaderboard.revisions import board_touch_for
from crucible.leaderboard.suites import suite_of_score
from evaluation.metrics import (
    DEFAULT_METRIC_VERSION,
    ScoreFigures,
    TaskResult,
    score_results,
    versions_that_differ,
)
from evaluation.provenance import Provenance
from submissions.codec import to_json
from submissions.job import ResultDocument
from submissions.states import Stage

PROVENANCE = [field.name for field in structs.fields(Provenance)]


def score_create(*, submission: Submission, results: Mapping[Stage, ResultDocument]) -> Score:
    """The score out of all stages' results, under every metric version.

    Raises `Failure` (`internal_error`) naming what is missing: a score without its provenance is no
    score.
    """
    provenance = Provenance.of(results, submission.seed)
    figures = results[Stage.SCORE].figures_as(ScoreFigures)
    records = results[Stage.SCORE].outputs.get("records")  # not by a job of an older release
    if records is not None:
        records_keep(records)
    score = Score.objects.create(
        submission=submission, **to_json(figures), **to_json(provenance)
    )  # fmt: skip
    score_soften(score=score)
    score_other_versions(score=score)
    return score


def score_soften(*, score: Score) -> bool:
    """Adds the soft means of the stored answers to a score that lacks them; whether it did."""
    suite = suite_of_score(score)
    if score.soft is not None or suite is None:
        return False
    soft = soft_means(suite, score.records_sha256)
    if soft is None:
        return False
    score.soft = soft
    score.save(update_fields=["soft"])
    return True


def soften_all() -> int:
    """The same for all scores under the site's metric version; returns how many it added to."""
    lacking = Score.objects.filter(soft__isnull=True, metric_version=DEFAULT_METRIC_VERSION)
    scores = lacking.exclude(records_sha256="").select_related("submission").order_by("id")
    return sum(score_soften(score=score) for score in scores)


def rescore_all() -> tuple[int, int]:
    """Adds what published submissions lack; returns how many scores, and how many could not be.

    A score cannot be made where this release no longer has the suite that was answered.
    """
    added = impossible = 0
    for submission in Submission.objects.filter(scores__isnull=False).distinct().order_by("id"):
        score = submission.scores.order_by("id").first()
        if score is None or suite_of_score(score) is None:
            impossible += 1
        else:
            added += len(score_other_versions(score=score))
    return added, impossible


def score_other_versions(*, score: Score) -> list[Score]:
    """The scores of the same answers under the metric versions that it has none of yet."""
    suite = suite_of_score(score)
    if suite is None:
        return []
    present = set(score.submission.scores.values_list("metric_version", flat=True))
    results = {
        label: TaskResult(task["score"], task["n"], task["stderr"])
        for label, task in score.tasks.items()
    }
    answers = answers_of_records(score.records_sha256)
    added = []
    for version in versions_that_differ(suite):
        if version in present:
            continue
        if answers is None:
            figures = score_results(suite, results, version)
        else:
            from evaluation.rescore import score_with_records

            figures = score_with_records(suite, results, answers, version)
        added.append(_copy(score, figures))
    if added:
        board_touch_for(score.submission)
    return added


def _copy(score: Score, figures: ScoreFigures) -> Score:
    """The same provenance with another version's figures."""
    provenance = {name: getattr(score, name) for name in PROVENANCE}
    created = Score.objects.create(
        submission=score.submission, **provenance, **to_json(figures)
    )  # fmt: skip
    # A place is older or younger by its publication, not by the day on which it was scored anew.
    Score.objects.filter(id=created.id).update(created_at=score.created_at)
    created.created_at = score.created_at
    return created
