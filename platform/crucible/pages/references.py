"""Pages of datasets by reference: the form, and a user's store keys."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from crucible.accounts.requests import UserRequest, refusal_as_message
from crucible.budgets.selectors import budget_rows
from crucible.entries.models import Submission
from crucible.intake import references, services, uploads
from crucible.intake.reference_forms import ReferenceForm, StoreKeyForm
from crucible.intake.store_rules import by_reference_possible, own_bucket, stores_open
from crucible.roles.permissions import Permission, require
from submissions.failures import Failure
from submissions.manifest import MANIFEST
from submissions.mixture import MIXTURE


def _or_404() -> None:
    if not by_reference_possible():
        raise Http404("this site takes no datasets by reference")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def submission_by_reference(request: UserRequest) -> HttpResponse:
    """The form with a manifest; on success it redirects to the page of the new submission."""
    _or_404()
    with refusal_as_message(request):
        require(request.user, Permission.SUBMIT)
    budgets = budget_rows(request.user)
    keys = list(references.store_keys_of(request.user))
    form = ReferenceForm(request.POST or None, request.FILES or None, budgets=budgets, keys=keys)
    if request.method == "POST" and form.is_valid():
        try:
            submission = _submit(request, form.cleaned_data)
        except Failure as failure:
            form.add_error(None, f"{failure}. {failure.next_step}")
        else:
            like = services.lookalike_of(user=request.user, name=submission.name)
            if like is not None:
                messages.warning(request, f"The name looks like {like}: readers may confuse them.")
            return redirect("submission", submission.id)
    own = own_bucket()
    context = {
        "form": form,
        "places": references.places_open(),
        "prefix": own.prefix_of(request.user.get_username()) if own else "",
        "own_endpoint": own.endpoint if own else "",
    }
    status = 422 if form.errors else 200
    return render(request, "submissions/by_reference.html", context, status=status)


def _submit(request: UserRequest, data: dict[str, Any]) -> Submission:
    upload = uploads.upload_create(user=request.user, scale=data["scale"])
    try:
        for name, file in ((MANIFEST, data.pop("manifest")), (MIXTURE, data.pop("mixture"))):
            if file:
                uploads.shard_receive(
                    upload=upload, name=name, chunks=file.chunks(), size=file.size
                )
        return services.submission_create(user=request.user, upload_id=upload.id, **data)
    except Failure:
        uploads.upload_discard(upload)
        raise


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def store_keys(request: UserRequest) -> HttpResponse:
    """The user's keys of stores, without their secrets, and the form for a new one."""
    _or_404()
    form = StoreKeyForm(request.POST or None, stores=stores_open())
    if request.method == "POST" and form.is_valid():
        try:
            references.store_key_create(user=request.user, **form.cleaned_data)
        except Failure as failure:
            form.add_error(None, f"{failure}. {failure.next_step}")
        else:
            messages.success(request, "The store key is kept, sealed.")
            return redirect("store_keys")
    context = {
        "form": form,
        "keys": references.store_keys_of(request.user),
        "stores": stores_open(),
    }
    status = 422 if form.errors else 200
    return render(request, "accounts/store_keys.html", context, status=status)


@login_required
@require_POST
def store_key_remove(request: UserRequest, key_id: int) -> HttpResponse:
    """Removes one of the user's own store keys."""
    if references.store_key_remove(user=request.user, key_id=key_id):
        messages.success(request, "The store key is removed.")
    return redirect("store_keys")


def by_reference(request: HttpRequest) -> dict[str, bool]:
    """For templates: whether the site takes datasets by reference."""
    return {"by_reference": by_reference_possible()}
