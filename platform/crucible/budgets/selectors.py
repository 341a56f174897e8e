"""Reads the budget of a team, and the charge of one submission."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from crucible.budgets.models import Allowance, Entry, Team
from crucible.budgets.services import price_of, refusal_of, under_way_of
from crucible.entries.models import Submission
from submissions.failures import Failure


@dataclass(frozen=True)
class BudgetRow:
    """One scale of this site for one user; `allowance` is None if the team has none there."""

    scale: str
    price: Decimal
    allowance: Allowance | None
    under_way: int

    @property
    def refusal(self) -> Failure | None:
        """Why a submission would be refused now; None if it would be accepted."""
        return refusal_of(
            scale=self.scale, price=self.price, allowance=self.allowance, under_way=self.under_way
        )

    @property
    def left(self) -> str:
        """What is left for one more submission, in a few words; empty if nothing limits it."""
        if self.allowance is None:
            return "no budget" if self.price else ""
        slots = f"{self.under_way} of {self.allowance.concurrent} in progress"
        hours = f"costs {self.price} H100-hours, {self.allowance.available} left, "
        return hours + slots if self.price else slots


def team_of(user: Any) -> Team | None:
    """The user's team."""
    return Team.objects.filter(memberships__user=user).first()


def budget_rows(user: Any) -> list[BudgetRow]:
    """Every open scale with the allowance of the user's team."""
    allowances = {
        allowance.scale: allowance
        for allowance in Allowance.objects.select_related("team").filter(
            team__memberships__user=user
        )
    }
    return [
        BudgetRow(scale, price_of(scale), found, under_way_of(found) if found else 0)
        for scale in settings.CRUCIBLE_SCALES
        for found in [allowances.get(scale)]
    ]


def budget_check(*, user: Any, scale: str) -> None:
    """Raises the refusal that a submission of this user at this scale would get now."""
    row = next((row for row in budget_rows(user) if row.scale == scale), None)
    if row is not None and row.refusal is not None:
        raise row.refusal


def ledger_of(user: Any) -> QuerySet[Entry]:
    """The ledger of the user's team only, the newest entry first."""
    return (
        Entry.objects.filter(allowance__team__memberships__user=user)
        .select_related("allowance", "submission")
        .order_by("-id")
    )


def charge_of(submission: Submission) -> Entry | None:
    """The last ledger entry of a submission; None if it reserved and spent nothing."""
    last = submission.ledger.order_by("id").last()
    return last if last and (last.available or last.spent) else None
