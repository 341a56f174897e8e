"""Pages of predictions for larger scales: a calibration, and which entries to run there next."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from crucible.accounts.requests import UserRequest, refusal_as_message
from crucible.boards.candidates import next_runs_page
from crucible.pages.calibration_page import calibration_page
from crucible.roles.permissions import Permission, require
from evaluation.transfer.runs import RecipeName, check_order
from submissions.failures import Failure
from training_recipes.scales import canonical_name

MOST_HOURS = Decimal(10**7)


def _scales(source: str, target: str) -> tuple[str, str]:
    """Both names as the site writes them; 404 for none, and where the second is not the larger."""
    names = canonical_name(source), canonical_name(target)
    try:
        check_order(*names)
    except Failure as failure:
        raise Http404(failure.message) from failure
    return names


@require_safe
def transfer(request: HttpRequest, source: str, target: str) -> HttpResponse:
    """The calibration between two scales; `?recipe=published` as most of DCLM's runs had it."""
    source, target = _scales(source, target)
    asked = request.GET.get("recipe", "official")
    if asked not in ("official", "published"):
        raise Http404
    recipe: RecipeName = "published" if asked == "published" else "official"
    context: dict[str, Any] = {"source": source, "target": target, "page": None, "problem": None}
    try:
        context["page"] = calibration_page(source, target, recipe)
    except Failure as failure:
        context["problem"] = failure.message
    status = 422 if context["problem"] else 200
    return render(request, "transfer/calibration.html", context, status=status)


@login_required
@require_safe
def next_runs(request: UserRequest, source: str, target: str) -> HttpResponse:
    """Which published entries deserve a run at the target, for `?hours=` of an H100."""
    source, target = _scales(source, target)
    with refusal_as_message(request):
        require(request.user, Permission.PRIORITISE)
    context: dict[str, Any] = {"source": source, "target": target, "page": None, "problem": None}
    try:
        context["page"] = next_runs_page(source, target, _hours(request.GET.get("hours", "")))
    except Failure as failure:
        context["problem"] = failure.message
    status = 422 if context["problem"] else 200
    return render(request, "transfer/next.html", context, status=status)


def _hours(text: str) -> Decimal | None:
    """None for an empty text; raises `refused`."""
    if not text.strip():
        return None
    try:
        hours = Decimal(text.strip()[:20])
    except InvalidOperation:
        hours = Decimal(-1)
    if not hours.is_finite() or not 0 <= hours <= MOST_HOURS:
        raise Failure("refused", f"give a number of H100-hours between 0 and {MOST_HOURS:,}")
    return hours
