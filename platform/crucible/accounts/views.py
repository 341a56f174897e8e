"""The account page: a user's API tokens, and how the user hears of submissions."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from crucible.accounts import services
from crucible.accounts.requests import UserRequest
from crucible.notifications.services import mail_possible, mail_wanted, webhooks_of


@login_required
@require_safe
def account(request: UserRequest) -> HttpResponse:
    """Tokens and webhooks; the secret of a new one is shown here once, from the session."""
    secret = request.session.pop("new_token", None)
    context = {"tokens": request.user.api_tokens.filter(revoked_at=None), "secret": secret}
    context |= {
        "webhooks": webhooks_of(request.user),
        "webhook_key": request.session.pop("new_webhook_key", None),
        "mail_possible": mail_possible(request.user),
        "mail_wanted": mail_wanted(request.user),
    }
    return render(request, "accounts/account.html", context)


@login_required
@require_POST
def token_create(request: UserRequest) -> HttpResponse:
    """Makes a token and goes back to the page, so that a reload does not make another."""
    label = request.POST.get("label", "").strip()[:80] or "command line"
    _, request.session["new_token"] = services.token_create(user=request.user, label=label)
    return redirect("account")


@login_required
@require_POST
def token_revoke(request: UserRequest, token_id: int) -> HttpResponse:
    """Ends one of the user's own tokens."""
    if services.token_revoke(user=request.user, token_id=token_id):
        messages.success(request, "The token is revoked.")
    return redirect("account")
