"""Reads a team's budget for its members, and what one submission took from it."""

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
    """One scale of this site as a user may use it; no allowance where none limits it."""

    scale: str
    price: Decimal
    allowance: Allowance | None
    under_way: int

    @property
    def refusal(self) -> Failure | None:
        """Why a submission would not be accepted now; None: it would."""
        return refusal_of(
            scale=self.scale, price=self.price, allowance=self.allowance, under_way=self.under_way
        )

    @property
    def left(self) -> str:
        """What is there for one more submission, in a few words; empty where nothing limits it."""
        if self.allowance is None:
            return "no budget" if self.price else ""
        slots = f"{self.under_way} of {self.allowance.concurrent} under way"
        hours = f"takes {self.price} H100-hours, {self.allowance.available} left, "
        return hours + slots if self.price else slots


def team_of(user: Any) -> Team | None:
    """The user's team."""
    return Team.objects.filter(memberships__user=user).first()


def budget_rows(user: Any) -> list[BudgetRow]:
    """Every open scale with what the user's team has there."""
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
    """Raises the refusal that a submission of this user's at this scale would meet now."""
    row = next((row for row in budget_rows(user) if row.scale == scale), None)
    if row is not None and row.refusal is not None:
        raise row.refusal


def ledger_of(user: Any) -> QuerySet[Entry]:
    """The ledger of the user's team, the newest first; of other teams nothing is shown."""
    return (
        Entry.objects.filter(allowance__team__memberships__user=user)
        .select_related("allowance", "submission")
        .order_by("-id")
    )


def charge_of(submission: Submission) -> Entry | None:
    """The last entry about a submission, what it holds or has cost; none where that is nothing."""
    last = submission.ledger.order_by("id").last()
    return last if last and (last.available or last.spent) else None
