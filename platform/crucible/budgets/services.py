"""Writes the ledger: an amount changes only under its allowance's lock and with an entry.

A submission reserves its price when it is accepted and consumes it at the first training step. It
gets a refund if it ends before that step, or if the platform fails it later.
"""

from __future__ import annotations

from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F

from crucible.budgets.models import Allowance, Entry, EntryKind, Team
from crucible.entries.models import Submission
from submissions.failures import Failure
from submissions.states import TERMINAL, State
from training_recipes.cost import cost_of
from training_recipes.scales import load_scale

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PLATFORM = "crucible"
CENT = Decimal("0.01")


def price_of(scale: str) -> Decimal:
    """H100-hours of one submission, as on the submit page; 0 at a scale for CPUs.

    The recipe is fixed, so every submission of a scale costs the same: training and evaluation.
    """
    cost = cost_of(load_scale(scale))
    if cost.mfu is None:
        return Decimal(0)
    hours = sum(work.device_hours for work in cost.works)
    return Decimal(hours).quantize(CENT, rounding=ROUND_UP)


def _write(
    allowance: Allowance,
    kind: EntryKind,
    reason: str,
    actor: str,
    *,
    submission: Submission | None = None,
    round: int = 0,
    available: Decimal = Decimal(0),
    reserved: Decimal = Decimal(0),
    spent: Decimal = Decimal(0),
) -> None:
    """An entry and its effect; the allowance's row is locked by the caller."""
    Entry.objects.create(
        allowance=allowance,
        submission=submission,
        round=round,
        kind=kind,
        available=available,
        reserved=reserved,
        spent=spent,
        reason=reason[:200],
        actor=actor,
    )
    Allowance.objects.filter(id=allowance.id).update(
        available=F("available") + available,
        reserved=F("reserved") + reserved,
        spent=F("spent") + spent,
    )


def refusal_of(
    *, scale: str, price: Decimal, allowance: Allowance | None, under_way: int
) -> Failure | None:
    """Why a submission would be refused (`budget_exceeded`); None if it would be accepted.

    A scale that costs no H100-hours is open to every user whose team has no allowance there.
    """
    if allowance is None:
        why = f"you have no budget at the scale {scale}"
        return Failure("budget_exceeded", why) if price else None
    if under_way >= allowance.concurrent:
        return Failure(
            "budget_exceeded",
            f"{allowance.team} has {under_way} submissions in progress at {scale};"
            f" the limit is {allowance.concurrent}",
        )
    if price > allowance.available:
        return Failure(
            "budget_exceeded",
            f"a submission at {scale} costs {price} H100-hours; {allowance.team} has"
            f" {allowance.available} left",
        )
    return None


def _last_of(submission: Submission) -> Entry | None:
    return submission.ledger.order_by("id").last()


@transaction.atomic
def allowance_grant(
    *, team: Team, scale: str, concurrent: int, hours: Decimal, reason: str, actor: User
) -> Allowance:
    """Sets the limit of submissions at once, and grants hours (negative: takes them back).

    Raises `Failure` for an unknown scale, a grant without a reason, or more hours taken back than
    are available; reserved and spent hours stay.
    """
    scale = load_scale(scale).name
    allowance, _ = Allowance.objects.select_for_update().get_or_create(
        team=team, scale=scale, defaults={"concurrent": concurrent}
    )
    if allowance.available + hours < 0:
        raise Failure(
            "refused", f"take back at most {allowance.available} H100-hours of {allowance}"
        )
    if allowance.concurrent != concurrent:
        Allowance.objects.filter(id=allowance.id).update(concurrent=concurrent)
    if hours:
        if not reason.strip():
            raise Failure("refused", "give a reason for the grant")
        _write(allowance, EntryKind.GRANT, reason, actor.get_username(), available=hours)
    allowance.refresh_from_db()
    return allowance


def budget_reserve(*, submission: Submission, actor: str) -> None:
    """Reserves the price; called in the transaction that creates or retries a submission.

    Raises `Failure` (`budget_exceeded`) if hours are lacking, or if the team has too many
    submissions in progress.
    """
    price = price_of(submission.scale)
    # Locked, so that each of several simultaneous submissions sees what the others reserved.
    allowance = (
        Allowance.objects.select_for_update(of=("self",))
        .select_related("team")
        .filter(team__memberships__user=submission.user, scale=submission.scale)
        .first()
    )
    under_way = under_way_of(allowance, besides=submission) if allowance else 0
    refusal = refusal_of(
        scale=submission.scale, price=price, allowance=allowance, under_way=under_way
    )
    if refusal is not None:
        raise refusal
    if allowance is None:
        return
    last = _last_of(submission)
    _write(
        allowance,
        EntryKind.RESERVE,
        "submitted" if last is None else "retried",
        actor,
        submission=submission,
        round=last.round + 1 if last else 1,
        available=-price,
        reserved=price,
    )


def under_way_of(allowance: Allowance, besides: Submission | None = None) -> int:
    """How many submissions paid by this allowance are in progress."""
    paid = Submission.objects.filter(
        ledger__allowance=allowance, ledger__kind=EntryKind.RESERVE
    ).exclude(state__in=TERMINAL)
    if besides is not None:
        paid = paid.exclude(id=besides.id)
    return paid.distinct().count()


def budget_consume(*, submission: Submission) -> None:
    """After the first training step, the reserved hours are spent. Safe to repeat."""
    last = _last_of(submission)
    if last is None or last.kind != EntryKind.RESERVE:
        return
    with transaction.atomic():
        allowance = Allowance.objects.select_for_update().get(id=last.allowance_id)
        _write(
            allowance,
            EntryKind.CONSUME,
            "training made its first step",
            PLATFORM,
            submission=submission,
            round=last.round,
            reserved=-last.reserved,
            spent=last.reserved,
        )


def budget_settle(*, submission: Submission, ending: State, failure_code: str, ours: bool) -> None:
    """Refunds what is due when a submission ends without a score; `ours`: the platform failed.

    Safe to repeat. Consumed hours stay spent if the participant cancelled or the dataset caused the
    failure.
    """
    last = _last_of(submission)
    if last is None or last.kind == EntryKind.REFUND:
        return
    if last.kind == EntryKind.CONSUME and not ours:
        return
    when = "before training" if last.kind == EntryKind.RESERVE else "by the platform's fault"
    reason = f"{ending.value} {when}" + (f": {failure_code}" if failure_code else "")
    with transaction.atomic():
        allowance = Allowance.objects.select_for_update().get(id=last.allowance_id)
        # The last entry shows where the amount is now: reserved or spent.
        reserved, spent = max(last.reserved, Decimal(0)), last.spent
        _write(
            allowance,
            EntryKind.REFUND,
            reason,
            PLATFORM,
            submission=submission,
            round=last.round,
            available=reserved + spent,
            reserved=-reserved,
            spent=-spent,
        )
