"""What a user chooses on the account page: mail or none, and webhooks."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from crucible.accounts.requests import UserRequest, refusal_told
from crucible.notifications import services


@login_required
@require_POST
def mail(request: UserRequest) -> HttpResponse:
    """Turns mail on or off."""
    services.mail_choose(user=request.user, wanted=request.POST.get("wanted") == "yes")
    return redirect("account")


@login_required
@require_POST
def webhook_create(request: UserRequest) -> HttpResponse:
    """Adds a webhook; its key is shown once, on the page that follows."""
    with refusal_told(request):
        made = services.webhook_create(user=request.user, url=request.POST.get("url", "").strip())
        request.session["new_webhook_key"] = services.webhook_key(made)
    return redirect("account")


@login_required
@require_POST
def webhook_remove(request: UserRequest, webhook_id: UUID) -> HttpResponse:
    """Ends one of the user's own webhooks."""
    if services.webhook_remove(user=request.user, webhook_id=webhook_id):
        messages.success(request, "The webhook is removed.")
    return redirect("account")
