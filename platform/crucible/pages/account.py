"""The account page: a user's API tokens, mail and webhooks."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from crucible.accounts import services as accounts
from crucible.accounts.requests import UserRequest, refusal_as_message
from crucible.notifications import services as notifications


@login_required
@require_safe
def account(request: UserRequest) -> HttpResponse:
    """Tokens and webhooks; the session holds a new secret, which is shown once."""
    secret = request.session.pop("new_token", None)
    context = {"tokens": request.user.api_tokens.filter(revoked_at=None), "secret": secret}
    context |= {
        "webhooks": notifications.webhooks_of(request.user),
        "webhook_key": request.session.pop("new_webhook_key", None),
        "mail_possible": notifications.mail_possible(request.user),
        "mail_wanted": notifications.mail_wanted(request.user),
    }
    return render(request, "accounts/account.html", context)


@login_required
@require_POST
def token_create(request: UserRequest) -> HttpResponse:
    """Creates a token and redirects to the page, so that a reload does not create another."""
    label = request.POST.get("label", "").strip()[:80] or "command line"
    with refusal_as_message(request):
        _, request.session["new_token"] = accounts.token_create(user=request.user, label=label)
    return redirect("account")


@login_required
@require_POST
def token_revoke(request: UserRequest, token_id: int) -> HttpResponse:
    """Revokes one of the user's own tokens."""
    if accounts.token_revoke(user=request.user, token_id=token_id):
        messages.success(request, "The token is revoked.")
    return redirect("account")


@login_required
@require_POST
def mail_choose(request: UserRequest) -> HttpResponse:
    """Turns mail on or off."""
    notifications.mail_choose(user=request.user, wanted=request.POST.get("wanted") == "yes")
    return redirect("account")


@login_required
@require_POST
def webhook_create(request: UserRequest) -> HttpResponse:
    """Adds a webhook; the next page shows its key once."""
    with refusal_as_message(request):
        made = notifications.webhook_create(
            user=request.user, url=request.POST.get("url", "").strip()
        )
        request.session["new_webhook_key"] = notifications.webhook_key(made)
    return redirect("account")


@login_required
@require_POST
def webhook_remove(request: UserRequest, webhook_id: UUID) -> HttpResponse:
    """Removes one of the user's own webhooks."""
    if notifications.webhook_remove(user=request.user, webhook_id=webhook_id):
        messages.success(request, "The webhook is removed.")
    return redirect("account")
