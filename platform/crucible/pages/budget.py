"""The page of the team's budget and ledger."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from crucible.accounts.requests import UserRequest
from crucible.budgets.selectors import budget_rows, ledger_of, team_of

SHOWN = 200  # entries of the ledger, the newest


@login_required
@require_safe
def budget(request: UserRequest) -> HttpResponse:
    """The budget by scale, and the newest entries of the ledger."""
    context = {
        "team": team_of(request.user),
        "budgets": budget_rows(request.user),
        "entries": ledger_of(request.user)[:SHOWN],
    }
    return render(request, "budgets/budget.html", context)
