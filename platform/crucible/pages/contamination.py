"""The contamination page of a submission, and its appeal."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from crucible.accounts.requests import UserRequest, refusal_as_message
from crucible.entries.models import Submission
from crucible.entries.selectors import may_look_inside
from crucible.pages.submissions import submission_or_404
from crucible.review.evidence import evidence_page
from crucible.review.forms import AppealForm
from crucible.review.models import Scan
from crucible.review.selectors import clean_rows, item_views, task_rates
from crucible.review.services import appeal_make
from submissions.failures import Failure


def _find(request: HttpRequest, submission_id: int) -> tuple[Submission, Scan]:
    submission = submission_or_404(request, submission_id)
    scan = Scan.objects.filter(submission=submission).first()
    if scan is None:
        raise Http404("the dataset has not been scanned yet")
    return submission, scan


@require_safe
def contamination(request: HttpRequest, submission_id: int) -> HttpResponse:
    """Rates and verdicts for all who see the submission; reasons and appeal for owner and staff."""
    submission, scan = _find(request, submission_id)
    inside = may_look_inside(request.user, submission)
    items = item_views(scan)
    context = {
        "submission": submission,
        "scan": scan,
        "tasks": task_rates(scan),
        "items": items,
        "inside": inside,
        "appeal": getattr(submission, "appeal", None),
        "may_appeal": inside
        and request.user == submission.user
        and not hasattr(submission, "appeal")
        and any(item.contested for item in items),
        "form": AppealForm(),
        "clean": clean_rows(scan),
    }
    return render(request, "review/contamination.html", context)


@login_required
@require_safe
def finding_list(request: UserRequest, submission_id: int, item_id: int) -> HttpResponse:
    """The findings of one item, for the owner and staff; the questions only for reviewers."""
    submission, scan = _find(request, submission_id)
    item = scan.items.select_related("scan__submission").filter(id=item_id).first()
    if item is None or not may_look_inside(request.user, submission):
        raise Http404("there are no such findings")
    evidence = evidence_page(item, request.GET.get("page"), reader=request.user)
    context = {"submission": submission, "item": item, "evidence": evidence}
    return render(request, "review/findings.html", context)


@login_required
@require_POST
def appeal(request: UserRequest, submission_id: int) -> HttpResponse:
    """The owner's one appeal against the verdicts."""
    submission, _ = _find(request, submission_id)
    form = AppealForm(request.POST)
    with refusal_as_message(request):
        if not form.is_valid():
            raise Failure("refused", "give your reasons for the appeal")
        appeal_make(submission=submission, user=request.user, text=form.cleaned_data["text"])
        messages.success(request, "The reviewers will read your appeal.")
    return redirect("submission_contamination", submission_id)
