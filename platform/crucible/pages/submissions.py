"""Pages of submissions: the user's own, the form, and the page of one submission."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crucible.accounts.requests import PageRequest, UserRequest, refusal_as_message
from crucible.budgets.selectors import budget_rows
from crucible.entries.models import Submission
from crucible.entries.selectors import may_look_inside, submission_get, submissions_of
from crucible.intake import services, uploads
from crucible.intake.forms import SubmissionForm
from crucible.intake.selectors import scale_costs
from crucible.jobs.models import Attempt
from crucible.pages.stages import log_tail
from crucible.pages.submission_page import submission_page
from crucible.roles.permissions import Permission, require
from submissions.failures import Failure

SHOWN = 200  # submissions of a list, the newest


def submission_or_404(request: HttpRequest, submission_id: int) -> Submission:
    """The submission, if the visitor may see it."""
    try:
        return submission_get(user=request.user, submission_id=submission_id)
    except Failure as failure:
        raise Http404(failure.message) from failure


@login_required
@require_safe
def submission_list(request: UserRequest) -> HttpResponse:
    """The user's own submissions, the newest first."""
    context = {"submissions": submissions_of(request.user)[:SHOWN]}
    return render(request, "submissions/list.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def submission_new(request: UserRequest) -> HttpResponse:
    """The form of participants; on success it redirects to the page of the new submission."""
    with refusal_as_message(request):
        require(request.user, Permission.SUBMIT)
    budgets = budget_rows(request.user)
    form = SubmissionForm(request.POST or None, request.FILES or None, budgets=budgets)
    if request.method == "POST" and form.is_valid():
        try:
            submission = _submit(request, form.cleaned_data)
        except Failure as failure:
            form.add_error(None, f"{failure.message}. {failure.next_step}")
        else:
            like = services.lookalike_of(user=request.user, name=submission.name)
            if like is not None:
                messages.warning(request, f"The name looks like {like}: readers may confuse them.")
            return redirect("submission", submission.id)
    status = 422 if form.errors else 200
    context = {"form": form, "costs": scale_costs(), "budgets": budgets}
    return render(request, "submissions/new.html", context, status=status)


def _submit(request: UserRequest, data: dict[str, Any]) -> Submission:
    size = sum(file.size for file in data["shards"])
    upload = uploads.upload_create(user=request.user, scale=data["scale"], size=size)
    try:
        for file in data.pop("shards"):
            uploads.shard_receive(
                upload=upload, name=file.name, chunks=file.chunks(), size=file.size
            )
        return services.submission_create(user=request.user, upload_id=upload.id, **data)
    except Failure:
        uploads.upload_discard(upload)
        raise


@require_safe
def submission(request: PageRequest, submission_id: int) -> HttpResponse:
    """One submission; htmx fetches its changing part again until it is over."""
    found = submission_or_404(request, submission_id)
    template = "submissions/progress.html" if request.htmx else "submissions/submission.html"
    page = submission_page(found, request.user)
    return render(request, template, {"submission": found, "page": page})


@login_required
@require_safe
def log(request: UserRequest, submission_id: int, stage: str) -> HttpResponse:
    """The end of a stage's log, for the owner and who may see all."""
    found = submission_or_404(request, submission_id)
    attempt: Attempt | None = found.attempts.filter(stage=stage).last()
    if attempt is None or not may_look_inside(request.user, found):
        raise Http404("there is no such log")
    context = {"submission": found, "attempt": attempt, "text": log_tail(attempt)}
    return render(request, "submissions/log.html", context)


@login_required
@require_POST
def submission_cancel(request: UserRequest, submission_id: int) -> HttpResponse:
    """Cancels a submission, for its owner and organisers."""
    submission_or_404(request, submission_id)
    with refusal_as_message(request):
        services.submission_cancel(submission_id=submission_id, actor=request.user)
    return redirect("submission", submission_id)


@login_required
@require_POST
def submission_retry(request: UserRequest, submission_id: int) -> HttpResponse:
    """Continues from the stage in which the platform failed, for owner and organisers."""
    submission_or_404(request, submission_id)
    with refusal_as_message(request):
        services.submission_retry(submission_id=submission_id, actor=request.user)
    return redirect("submission", submission_id)
