"""Writes the ledger: each amount moves under its allowance's lock, with an entry that says why.

A submission reserves when it is handed in, consumes at the first step of training, and gets back
what it reserved when it ends before that, or what it consumed when the platform failed it.
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
    """H100-hours of one submission, as the submit page names them; 0 on a CPU's scale.

    The recipe is fixed, so every submission of a scale costs the same: training and evaluation.
    """
    cost = cost_of(load_scale(scale))
    if cost.mfu is None:
        return Decimal(0)
    hours = sum(work.device_hours for work in cost.works)
    return Decimal(hours).quantize(CENT, rounding=ROUND_UP)


def _write(
    allowance: Allowance, kind: EntryKind, reason: str, actor: str, *,
    submission: Submission | None = None, round: int = 0, available: Decimal = Decimal(0),
    reserved: Decimal = Decimal(0), spent: Decimal = Decimal(0),
) -> None:  # fmt: skip
    """An entry and its effect; the allowance's row is locked by the caller."""
    Entry.objects.create(
        allowance=allowance, submission=submission, round=round, kind=kind, available=available,
        reserved=reserved, spent=spent, reason=reason[:200], actor=actor,
    )  # fmt: skip
    Allowance.objects.filter(id=allowance.id).update(
        available=F("available") + available, reserved=F("reserved") + reserved,
        spent=F("spent") + spent,
    )  # fmt: skip


def refusal_of(
    *, scale: str, price: Decimal, allowance: Allowance | None, under_way: int
) -> Failure | None:
    """Why a submission would not be accepted (`budget_exceeded`); None: it would.

    A scale that costs no H100-hours is open to all whom no allowance limits.
    """
    if allowance is None:
        why = f"you have no budget at the scale {scale}"
        return Failure("budget_exceeded", why) if price else None
    if under_way >= allowance.concurrent:
        return Failure(
            "budget_exceeded",
            f"{under_way} submissions of {allowance.team} at {scale} are under way;"
            f" {allowance.concurrent} may be",
        )
    if price > allowance.available:
        return Failure(
            "budget_exceeded",
            f"a submission at {scale} takes {price} H100-hours; {allowance.team} has"
            f" {allowance.available} left",
        )
    return None


def _last_of(submission: Submission) -> Entry | None:
    return submission.ledger.order_by("id").last()


@transaction.atomic
def allowance_grant(
    *, team: Team, scale: str, concurrent: int, hours: Decimal, reason: str, actor: User
) -> Allowance:
    """Sets how many at once, and adds hours (or takes some back, when negative), with the reason.

    Raises `Failure` for an unknown scale, a change without a reason, or more taken back than is
    available: what is reserved or spent stays so.
    """
    scale = load_scale(scale).name
    allowance, _ = Allowance.objects.select_for_update().get_or_create(
        team=team, scale=scale, defaults={"concurrent": concurrent}
    )
    if allowance.available + hours < 0:
        raise Failure("refused", f"{allowance} has only {allowance.available} H100-hours to give")
    if allowance.concurrent != concurrent:
        Allowance.objects.filter(id=allowance.id).update(concurrent=concurrent)
    if hours:
        if not reason.strip():
            raise Failure("refused", "a grant needs a reason")
        _write(allowance, EntryKind.GRANT, reason, actor.get_username(), available=hours)
    allowance.refresh_from_db()
    return allowance


def budget_reserve(*, submission: Submission, actor: str) -> None:
    """Takes the price out of what is available; called in the transaction that starts a submission.

    Raises `Failure` (`budget_exceeded`) when hours are lacking, or too many of the team's are under
    way.
    """
    price = price_of(submission.scale)
    # Locked: of rivals at the same moment each sees what the ones before it took.
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
        allowance, EntryKind.RESERVE, "handed in" if last is None else "retried", actor,
        submission=submission, round=last.round + 1 if last else 1, available=-price,
        reserved=price,
    )  # fmt: skip


def under_way_of(allowance: Allowance, besides: Submission | None = None) -> int:
    """How many submissions that it pays for are not over."""
    paid = Submission.objects.filter(
        ledger__allowance=allowance, ledger__kind=EntryKind.RESERVE
    ).exclude(state__in=TERMINAL)
    if besides is not None:
        paid = paid.exclude(id=besides.id)
    return paid.distinct().count()


def budget_consume(*, submission: Submission) -> None:
    """Training has made its first step: what was reserved is spent. Safe to repeat."""
    last = _last_of(submission)
    if last is None or last.kind != EntryKind.RESERVE:
        return
    with transaction.atomic():
        allowance = Allowance.objects.select_for_update().get(id=last.allowance_id)
        _write(
            allowance, EntryKind.CONSUME, "training made its first step", PLATFORM,
            submission=submission, round=last.round, reserved=-last.reserved, spent=last.reserved,
        )  # fmt: skip


def budget_settle(*, submission: Submission, ending: State, failure_code: str, ours: bool) -> None:
    """Gives back what is due when a submission ends without a score; `ours`: the platform failed.

    Safe to repeat. What training consumed stays spent when the participant cancelled or the dataset
    was at fault.
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
        # The last entry put the amount where it is now: into the reserved or into the spent.
        reserved, spent = max(last.reserved, Decimal(0)), last.spent
        _write(
            allowance, EntryKind.REFUND, reason, PLATFORM, submission=submission, round=last.round,
            available=reserved + spent, reserved=-reserved, spent=-spent,
        )  # fmt: skip
