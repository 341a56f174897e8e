"""Pages of submissions: one's own, the form, and the page that shows one from first to last."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crucible.accounts.requests import PageRequest, UserRequest, refusal_told
from crucible.budgets.selectors import budget_rows, charge_of
from crucible.entries import services, uploads
from crucible.entries.forms import SubmissionForm
from crucible.entries.models import Submission
from crucible.entries.selectors import (
    may_look_inside,
    scale_costs,
    submission_get,
    submissions_of,
)
from crucible.jobs.models import Attempt
from crucible.jobs.selectors import (
    log_tail,
    mixture_of,
    results_of,
    spent_on,
    stages_of,
    waiting_for,
)
from crucible.leaderboard.comparison import runs_with_other_seeds
from crucible.leaderboard.selectors import scores_of, task_rows
from crucible.plots import loss_plot
from crucible.review.selectors import leaked_tasks
from submissions.failures import Failure


def submission_or_404(request: HttpRequest, submission_id: int) -> Submission:
    """The submission, if the visitor may see it."""
    try:
        return submission_get(user=request.user, submission_id=submission_id)
    except Failure as failure:
        raise Http404(failure.message) from failure


@login_required
@require_safe
def submissions(request: UserRequest) -> HttpResponse:
    """The user's own, the newest first."""
    return render(request, "entries/list.html", {"submissions": submissions_of(request.user)[:200]})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def submission_new(request: UserRequest) -> HttpResponse:
    """The form; on success the new submission's page, where everything goes on by itself."""
    budgets = budget_rows(request.user)
    form = SubmissionForm(request.POST or None, request.FILES or None, budgets=budgets)
    if request.method == "POST" and form.is_valid():
        try:
            submission = _hand_in(request, form.cleaned_data)
        except Failure as failure:
            form.add_error(None, f"{failure.message}. {failure.next_step}")
        else:
            return redirect("submission", submission.id)
    status = 422 if form.errors else 200
    context = {"form": form, "costs": scale_costs(), "budgets": budgets}
    return render(request, "entries/new.html", context, status=status)


def _hand_in(request: UserRequest, data: dict[str, Any]) -> Submission:
    upload = uploads.upload_create(user=request.user, scale=data["scale"])
    try:
        for file in data.pop("shards"):
            uploads.shard_receive(upload=upload, name=file.name, chunks=file.chunks())
        return services.submission_create(
            user=request.user,
            upload_id=upload.id,
            **data,
        )
    except Failure:
        uploads.upload_discard(upload)
        raise


def _page(request: HttpRequest, submission: Submission) -> dict[str, Any]:
    inside = may_look_inside(request.user, submission)
    results = results_of(submission)
    mixture, mixture_counted = mixture_of(results)
    score, other_versions = scores_of(submission)
    versions = dict(score.versions) if score else {}
    versions.pop("commit", None)  # has a row of its own
    return {
        "submission": submission,
        "waiting_for": waiting_for(submission),
        "retry": inside and services.may_be_retried(submission, request.user),
        "charge": charge_of(submission) if inside else None,
        "spent": spent_on(submission) if inside else None,
        "stages": stages_of(submission, with_logs=inside),
        "inside": inside,
        "score": score,
        "tasks": task_rows(score) if score else [],
        "other_versions": other_versions,
        "siblings": runs_with_other_seeds(score) if score else None,
        "versions": sorted(versions.items()),
        "results": results,
        "mixture": mixture,
        "mixture_counted": mixture_counted,
        "loss": loss_plot(results.get("train", {}).get("figures", {}).get("loss_curve", [])),
        "leaks": leaked_tasks(submission),
        "events": submission.events.all() if inside else [],
    }


@require_safe
def submission(request: PageRequest, submission_id: int) -> HttpResponse:
    """Everything about one submission; htmx asks for it anew, in part, while it is under way."""
    found = submission_or_404(request, submission_id)
    template = "entries/progress.html" if request.htmx else "entries/page.html"
    return render(request, template, _page(request, found))


@login_required
@require_safe
def log(request: UserRequest, submission_id: int, stage: str) -> HttpResponse:
    """The end of a stage's log, for the owner and staff."""
    found = submission_or_404(request, submission_id)
    attempt: Attempt | None = found.attempts.filter(stage=stage).last()
    if attempt is None or not may_look_inside(request.user, found):
        raise Http404("there is no such log")
    context = {"submission": found, "attempt": attempt, "text": log_tail(attempt)}
    return render(request, "entries/log.html", context)


@login_required
@require_POST
def submission_cancel(request: UserRequest, submission_id: int) -> HttpResponse:
    """Asks for the end of a submission, of one's own or by staff."""
    submission_or_404(request, submission_id)
    with refusal_told(request):
        services.submission_cancel(submission_id=submission_id, actor=request.user)
    return redirect("submission", submission_id)


@login_required
@require_POST
def submission_retry(request: UserRequest, submission_id: int) -> HttpResponse:
    """Goes on where the platform failed, of one's own or by staff."""
    submission_or_404(request, submission_id)
    with refusal_told(request):
        services.submission_retry(submission_id=submission_id, actor=request.user)
    return redirect("submission", submission_id)
