"""Reads a team's budget for its members, and what one submission took from it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from crucible.budgets.models import Allowance, Entry, Team
from crucible.budgets.services import price_of, under_way_of
from crucible.entries.models import Submission


@dataclass(frozen=True)
class BudgetRow:
    """One scale of this site as a user may use it; no allowance where none limits it."""

    scale: str
    price: Decimal
    allowance: Allowance | None
    under_way: int

    @property
    def possible(self) -> bool:
        """Whether a submission would be accepted now."""
        if self.allowance is None:
            return not self.price
        return self.under_way < self.allowance.concurrent and self.price <= self.allowance.available


def team_of(user: Any) -> Team | None:
    """The user's team."""
    return Team.objects.filter(memberships__user=user).first()


def budget_rows(user: Any) -> list[BudgetRow]:
    """Every open scale with what the user's team has there."""
    allowances = {
        allowance.scale: allowance
        for allowance in Allowance.objects.filter(team__memberships__user=user)
    }
    return [
        BudgetRow(scale, price_of(scale), found, under_way_of(found) if found else 0)
        for scale in settings.CRUCIBLE_SCALES
        for found in [allowances.get(scale)]
    ]


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
