"""Reads findings and verdicts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from crucible.entries.models import Submission
from crucible.review.judging import Decision, decide
from crucible.review.models import Appeal, HoldRule, Item, Scan, Severity, Verdict, VerdictKind
from crucible.roles.permissions import Permission, may


@dataclass(frozen=True)
class Rule:
    """At least `examples` of a task with this or a worse severity hold; None: nothing holds."""

    severity: str | None
    examples: int

    def holds(self, severity: str, examples: int) -> bool:
        """Whether an item waits for its verdict before the submission is published."""
        if self.severity is None:
            return False
        order = Severity.values
        return order.index(severity) <= order.index(self.severity) and examples >= self.examples


DEFAULT_RULE = Rule(Severity.HIGH, 1)


def may_judge(user: Any) -> bool:
    """Whether the user is a reviewer: gives verdicts and reads the suite's questions."""
    return may(user, Permission.JUDGE)


def hold_rule(submission: Submission) -> Rule:
    """The organiser's most specific rule for the submission's track and scale."""
    rules = {
        (rule.track, rule.scale): rule
        for rule in HoldRule.objects.filter(
            track__in=["", submission.track], scale__in=["", submission.scale]
        )
    }
    track, scale = submission.track, submission.scale
    for board in ((track, scale), ("", scale), (track, ""), ("", "")):
        if board in rules:
            return Rule(rules[board].severity or None, rules[board].examples)
    return DEFAULT_RULE


def decisions(items: QuerySet[Item]) -> list[tuple[Item, Decision]]:
    """The items with their decisions, in two queries for any number of items."""
    found = items.select_related("scan__submission__appeal").prefetch_related("verdicts")
    return [(item, decided(item)) for item in found]


def decided(item: Item) -> Decision:
    """The decision about an item; without a query if verdicts and appeal are prefetched."""
    appeal: Appeal | None = getattr(item.scan.submission, "appeal", None)
    return decide(list(item.verdicts.all()), appeal.created_at if appeal else None)


def decision_of(item: Item) -> Decision:
    """The decision about one item, read from the database."""
    ((_, decision),) = decisions(Item.objects.filter(id=item.id))
    return decision


@dataclass(frozen=True)
class Outcome:
    """The outcome of all verdicts of a submission; the strings are tasks."""

    held: list[Item]
    disqualified: list[str]
    excluded: list[str]
    marked: list[str]


def outcome_of(submission: Submission) -> Outcome:
    """The outcome so far; `held` are the items that publication waits for."""
    return _outcome(decisions(Item.objects.filter(scan__submission=submission)))


def _outcome(decided: list[tuple[Item, Decision]]) -> Outcome:
    def tasks(kind: VerdictKind) -> list[str]:
        return sorted({item.task for item, decision in decided if decision.kind == kind})

    return Outcome(
        [item for item, decision in decided if item.holds and decision.is_open],
        tasks(VerdictKind.DISQUALIFY),
        tasks(VerdictKind.EXCLUDE),
        tasks(VerdictKind.MARK),
    )


@dataclass(frozen=True)
class Marks:
    """Tasks whose findings were accepted with a mark, and tasks that were excluded."""

    marked: tuple[str, ...]
    excluded: tuple[str, ...]


def marks_of(submissions: Collection[int] | QuerySet[Any]) -> dict[int, Marks]:
    """The marks of those submissions that have one, by submission id."""
    judged = Item.objects.filter(scan__submission__in=submissions, verdicts__isnull=False)
    decided: dict[int, list[tuple[Item, Decision]]] = {}
    for item, decision in decisions(judged.distinct()):
        decided.setdefault(item.scan.submission_id, []).append((item, decision))
    outcomes = {number: _outcome(some) for number, some in decided.items()}
    return {
        number: Marks(tuple(outcome.marked), tuple(outcome.excluded))
        for number, outcome in outcomes.items()
        if outcome.marked or outcome.excluded
    }


def scan_exists(submission: Submission) -> bool:
    """Whether the dataset was scanned."""
    return Scan.objects.filter(submission=submission).exists()


def leaked_tasks(submission: Submission) -> list[str] | None:
    """Tasks with whole questions in the data, not only passages or parts; None before the scan."""
    found = Scan.objects.filter(submission=submission).values_list("items__task", "items__severity")
    whole = (Severity.HIGH, Severity.MEDIUM)
    return sorted({task for task, severity in found if severity in whole}) if found else None


def review_waits_for(submission: Submission) -> str:
    """What a held submission waits for, in words."""
    held = len(outcome_of(submission).held)
    return f"a reviewer, who judges findings of leaked questions in {held} task{'s' * (held > 1)}"


def queue() -> QuerySet[Item]:
    """Items that wait for a verdict, the oldest first."""
    return Item.objects.filter(is_open=True).select_related("scan__submission__user")


def queue_of(reviewer: User) -> QuerySet[Item]:
    """The part of the queue that this reviewer can judge.

    Without the reviewer's own submissions, and without items that this reviewer wants to disqualify
    and a second one must judge.
    """
    last = Verdict.objects.filter(item=OuterRef("pk")).order_by("-id").values("id")[:1]
    wish = Verdict.objects.filter(
        id=OuterRef("last"),
        kind=VerdictKind.DISQUALIFY,
        reviewer=reviewer,
        item__scan__submission__appeal__isnull=True,
    )
    waiting = queue().exclude(scan__submission__user=reviewer)
    return waiting.annotate(last=Subquery(last)).exclude(Exists(wish))


def next_in_queue(after: Item, reviewer: User) -> Item | None:
    """The next item after `after` that the reviewer can judge, or else the first of all."""
    waiting = queue_of(reviewer).exclude(id=after.id)
    behind = waiting.filter(opened_at__gte=after.opened_at, id__gt=after.id).first()
    return behind or waiting.first()


@dataclass(frozen=True)
class TaskRate:
    """How many of a task's checkable examples are in the data, by severity."""

    label: str
    examples: int
    checkable: int
    counts: list[int]

    @property
    def rate(self) -> float | None:
        """Share with a finding of HIGH or MEDIUM; None if no example can be checked."""
        return sum(self.counts[:2]) / self.checkable if self.checkable else None


def task_rates(scan: Scan) -> list[TaskRate]:
    """The tasks by name; a task whose examples are too short to check has a rate of None."""
    return [
        TaskRate(label, task["examples"], task["checkable"], [task[s] for s in Severity.values])
        for label, task in sorted(scan.report["tasks"].items())
    ]


@dataclass(frozen=True)
class ItemView:
    """An item as the participant sees it: with its last verdict."""

    item: Item
    decision: Decision
    last: Verdict | None

    @property
    def contested(self) -> bool:
        """Whether there is something to appeal against."""
        return self.decision.kind not in (None, VerdictKind.FALSE_ALARM)


def item_views(scan: Scan) -> list[ItemView]:
    """The items of a scan, the most severe first."""
    order = Severity.values
    found = [
        ItemView(item, decision, max(item.verdicts.all(), key=lambda v: v.id, default=None))
        for item, decision in decisions(Item.objects.filter(scan=scan))
    ]
    return sorted(found, key=lambda one: (order.index(one.item.severity), one.item.task))


def clean_rows(scan: Scan) -> list[tuple[str, dict[str, Any]]]:
    """Name and values of each score over clean questions: means first, then tasks."""
    clean = scan.clean_score or {"means": {}, "tasks": {}}
    means = [(name.upper(), value) for name, value in sorted(clean["means"].items())]
    return means + sorted(clean["tasks"].items())


def scan_document(submission: Submission, inside: bool) -> dict[str, Any] | None:
    """The API's document of a scan, as on the contamination page; None before the scan.

    `inside`: for the owner and staff, who also read the reasons of verdicts.
    """
    scan = Scan.objects.filter(submission=submission).first()
    if scan is None:
        return None
    rates = task_rates(scan)
    marks = marks_of([submission.id]).get(submission.id)
    return {
        "scanned_at": scan.created_at.isoformat(),
        "index_sha256": scan.index_sha256,
        "documents": scan.report["documents"],
        "examples": {
            severity: sum(task.counts[place] for task in rates)
            for place, severity in enumerate(Severity.values)
        },
        "leaked_tasks": leaked_tasks(submission),
        "tasks": {
            task.label: {"examples": task.examples, "checkable": task.checkable, "rate": task.rate}
            | dict(zip(Severity.values, task.counts, strict=True))
            for task in rates
        },
        "verdicts": [_verdict_document(view, inside) for view in item_views(scan)],
        "marks": vars(marks) if marks else None,
        "clean": scan.clean_score,
    }


def _verdict_document(view: ItemView, inside: bool) -> dict[str, Any]:
    item = view.item
    document = {
        "task": item.task,
        "severity": item.severity,
        "examples": item.examples,
        "verdict": view.decision.kind,
        "waits": item.is_open and view.decision.is_open,
    }
    return document | ({"reason": view.last.reason if view.last else None} if inside else {})
