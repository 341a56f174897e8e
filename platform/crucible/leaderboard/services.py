"""Makes a score out of the stages' results, or refuses it; and scores under other metric versions.

A metric version decides what guessing reaches, nothing else: the answers stay. So every score is
kept under each version that makes a difference to its suite, and a version that comes later is
computed from the stored values (`manage.py rescore`), without a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crucible.entries.models import Submission
from crucible.leaderboard.models import Score
from crucible.leaderboard.records import answers_of_records, records_keep
from crucible.leaderboard.revisions import board_touch_for
from crucible.leaderboard.suites import suite_of_score
from evaluation.metrics import TaskResult, score_results, versions_that_differ
from submissions.codec import to_json
from submissions.failures import Failure
from submissions.job import Artifact
from submissions.states import Stage

MEASURED = [
    "metric_version", "label", "core", "core_stderr", "extended", "extended_stderr", "mmlu",
    "mmlu_stderr", "smoke", "smoke_stderr", "mean", "mean_stderr", "intervals", "categories",
    "tasks", "missing_tasks",
]  # fmt: skip


def score_create(*, submission: Submission, results: Mapping[str, dict[str, Any]]) -> Score:
    """The score out of all stages' results, under every metric version.

    Raises `Failure` (`internal_error`) naming what is missing: a score without its provenance is no
    score.
    """
    try:
        fields = _fields(submission, results)
        made = results[Stage.SCORE]["outputs"].get("records")  # not by a job of an older release
    except KeyError as missing:
        raise Failure("internal_error", f"the score lacks {missing}") from missing
    empty = sorted(name for name, value in fields.items() if value in ("", "unknown"))
    if empty:
        raise Failure("internal_error", f"the score lacks {', '.join(empty)}")
    records = records_keep(Artifact(**made)) if made else ""
    score = Score.objects.create(submission=submission, records_sha256=records, **fields)
    score_other_versions(score=score)
    return score


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
            document = score_results(suite, results, version)
        else:
            from evaluation.rescore import score_with_records

            document = score_with_records(suite, results, answers, version)
        added.append(_copy(score, to_json(document)))
    if added:
        board_touch_for(score.submission)
    return added


def _copy(score: Score, document: dict[str, Any]) -> Score:
    """The same provenance with another version's figures."""
    kept = {
        field.name: getattr(score, field.name)
        for field in Score._meta.concrete_fields
        if field.name not in {"id", "created_at", *MEASURED}
    }
    measured = {name: document[name] for name in MEASURED}
    created = Score.objects.create(**kept, **measured)
    # A place is older or younger by its publication, not by the day on which it was scored anew.
    Score.objects.filter(id=created.id).update(created_at=score.created_at)
    created.created_at = score.created_at
    return created


def _fields(submission: Submission, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    train, evaluate = results[Stage.TRAIN], results[Stage.EVALUATE]
    dataset = results[Stage.TOKENIZE]["figures"]
    score = results[Stage.SCORE]["figures"]
    return {name: score[name] for name in MEASURED} | {
        "suite_sha256": evaluate["figures"]["suite_hash"],
        "recipe_sha256": train["figures"]["recipe_sha256"],
        "manifest_sha256": results[Stage.VALIDATE]["figures"]["manifest_sha256"],
        "tokenizer_sha256": dataset["tokenizer_sha256"],
        "seed": submission.seed,
        "code_commit": train["versions"]["commit"],
        "training_engine": train["figures"]["engine"],
        "evaluation_engine": evaluate["figures"]["engine"],
        "hardware": train["hardware"],
        "versions": train["versions"],
        "seconds": sum(result["seconds"] for result in results.values()),
        "flops": train["figures"]["flops"],
        "loss": train["figures"]["loss"],
        "tokens": dataset["tokens"],
        "unique_tokens": dataset["unique_tokens"],
        "epochs": dataset["epochs"],
    }
