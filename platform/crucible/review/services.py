"""Changes to findings and verdicts, each with an event in the submission's history."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from crucible.entries.models import Submission
from crucible.entries.moves import event_add, submission_move
from crucible.entries.states import EventKind
from crucible.leaderboard.records import answers_of_records
from crucible.leaderboard.revisions import board_touch_for
from crucible.leaderboard.suites import suite_of_score
from crucible.review.models import Appeal, Finding, Item, Scan, Severity, Verdict, VerdictKind
from crucible.review.selectors import decision_of, hold_rule, outcome_of, scan_exists
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from crucible.roles.permissions import Permission, require
from evaluation.metrics import DEFAULT_METRIC_VERSION
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.job import ResultDocument
from submissions.names import checked_text
from submissions.states import State

SETTLED = (State.REVIEWING, State.PUBLISHED, State.DISQUALIFIED)
FINDINGS_AN_ITEM = 1000  # rows to look at; the counts are of all


def scan_take_over(*, submission: Submission, result: ResultDocument) -> Scan:
    """Keeps the report that the scan stage wrote.

    Raises `artifact_missing` or `artifact_corrupt` where it is gone or another than it wrote.
    """
    report = result.outputs["report"].verified(file_sha256)
    return scan_record(submission=submission, report=json.loads(report.read_bytes()))


@transaction.atomic
def scan_record(*, submission: Submission, report: dict[str, Any]) -> Scan:
    """Keeps a scan's report: an item for each task and severity with findings.

    Of hints at reworded questions, which hold nothing, only the document's side is kept.
    """
    findings = sorted(report["findings"], key=_item_of)
    counts = {name: value for name, value in report.items() if name not in ("findings", "examples")}
    if hints := report.get("paraphrases"):
        shown = [{k: v for k, v in one.items() if k != "question"} for one in hints["findings"]]
        counts["paraphrases"] = {**hints, "findings": shown}
    leaked: dict[str, list[int]] = {}
    for example in report["examples"]:
        if example["severity"] in (Severity.HIGH, Severity.MEDIUM):
            leaked.setdefault(example["task"], []).append(example["index"])
    scan = Scan.objects.create(
        submission=submission, index_sha256=report["index_hash"], report=counts, leaked=leaked
    )
    rule = hold_rule(submission)
    for (task, severity), group in groupby(findings, key=_item_of):
        examples = report["tasks"][task][severity]
        if not examples:  # each of them has a graver finding elsewhere
            continue
        item = Item.objects.create(
            scan=scan, task=task, severity=severity, examples=examples,
            holds=rule.holds(severity, examples), is_open=severity != Severity.PASSAGE,
        )  # fmt: skip
        Finding.objects.bulk_create(
            Finding(
                item=item, index=finding["index"], shard=finding["shard"], line=finding["line"],
                detail=finding,
            )
            for finding, _ in zip(group, range(FINDINGS_AN_ITEM), strict=False)
        )  # fmt: skip
    return scan


def _item_of(finding: dict[str, Any]) -> tuple[str, str]:
    return finding["task"], finding["severity"]


@transaction.atomic
def verdict_give(*, item_id: int, reviewer: User, kind: str, reason: str) -> Verdict:
    """A reviewer's verdict; `refused` without a reason, on one's own submission, or twice.

    Raises `not_permitted` for who is no reviewer.
    """
    require(reviewer, Permission.JUDGE)
    found = Item.objects.select_related("scan__submission").filter(id=item_id).first()
    if found is None:
        raise Failure("not_found", f"there is no item {item_id}")
    submission = Submission.objects.select_for_update().get(id=found.scan.submission_id)
    item = Item.objects.select_for_update().get(id=item_id)
    if kind not in VerdictKind.values:
        raise Failure("refused", f"there is no verdict {kind!r}")
    reason = checked_text(reason, "the reason", 2000)
    if not reason:
        raise Failure("refused", "a verdict needs its reason: the participant reads it")
    if submission.user_id == reviewer.pk:
        raise Failure("refused", "nobody judges a submission of their own")
    last = item.verdicts.last()
    if (
        kind == VerdictKind.DISQUALIFY
        and last is not None
        and (last.kind, last.reviewer_id) == (kind, reviewer.pk)
        and decision_of(item).second_needed
    ):
        raise Failure("refused", "disqualifying takes a second reviewer: you are the first")
    verdict = Verdict.objects.create(item=item, kind=kind, reason=reason, reviewer=reviewer)
    event_add(
        submission=submission, kind=EventKind.VERDICT, actor=reviewer.get_username(),
        detail={"task": item.task, "severity": item.severity, "verdict": kind},
    )  # fmt: skip
    act_record(
        actor=reviewer, what=ActKind.JUDGED, about=f"submission {submission.id}",
        on_whom=submission.user, detail=f"{item.task}, {item.severity}: {kind}",
    )  # fmt: skip
    item.is_open = decision_of(item).is_open
    item.save(update_fields=["is_open"])
    submission_settle(submission=submission)
    board_touch_for(submission)  # its mark is on the board
    return verdict


@transaction.atomic
def appeal_make(*, submission: Submission, user: User, text: str) -> Appeal:
    """The participant's one appeal, when something was decided; opens what was decided again."""
    locked = Submission.objects.select_for_update().get(id=submission.id)
    if locked.user_id != user.pk:
        raise Failure("not_found", f"you have no submission {submission.id}")
    text = checked_text(text, "the appeal", 4000)
    if not text:
        raise Failure("refused", "an appeal needs its reasons")
    if Appeal.objects.filter(submission=locked).exists():
        raise Failure("refused", "there is one appeal a submission, and it was made")
    judged = Item.objects.filter(scan__submission=locked, verdicts__isnull=False).distinct()
    contested = [i for i in judged if decision_of(i).kind not in (None, VerdictKind.FALSE_ALARM)]
    if not contested:
        raise Failure("refused", "there is no verdict to appeal against")
    appeal = Appeal.objects.create(submission=locked, text=text)
    event_add(submission=locked, kind=EventKind.APPEAL, actor=user.get_username())
    Item.objects.filter(id__in=[item.id for item in contested]).update(is_open=True)
    return appeal


def submission_settle(*, submission: Submission) -> None:
    """Publishes or disqualifies a submission that has its score, as reviewers decided.

    May be called at any time; does nothing while stages are under way or an item holds it. The row
    must be locked.
    """
    state = State(submission.state)
    if state not in SETTLED or (state == State.REVIEWING and not scan_exists(submission)):
        return
    outcome = outcome_of(submission)
    if state == State.REVIEWING and outcome.held:
        return
    to = State.DISQUALIFIED if outcome.disqualified else State.PUBLISHED
    if to != state:
        submission_move(submission=submission, to=to)


def store_clean_score(*, submission: Submission) -> None:
    """Keeps the score over clean questions beside the full one, once both are there.

    From the records behind the score; where nothing leaked or they are gone, there is none.
    """
    scan = Scan.objects.filter(submission=submission, clean_score__isnull=True).first()
    score = submission.scores.filter(metric_version=DEFAULT_METRIC_VERSION).first()
    if scan is None or score is None or not scan.leaked:
        return
    answers, suite = answers_of_records(score.records_sha256), suite_of_score(score)
    if answers is None or suite is None:
        return
    from evaluation.clean_subset import clean_scores

    found = clean_scores(suite, answers, scan.leaked, DEFAULT_METRIC_VERSION)
    scan.clean_score = {
        group: {name: score.as_dict() for name, score in scores.items()}
        for group, scores in found.items()
    }
    scan.save(update_fields=["clean_score"])
