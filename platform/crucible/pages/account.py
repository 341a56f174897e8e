"""The account page: sign-in, a user's API tokens, mail and webhooks; and invitations."""

from __future__ import annotations

from uuid import UUID

from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from crucible.accounts import services as accounts
from crucible.accounts.forms import TokenForm
from crucible.accounts.invitations import invitation_open
from crucible.accounts.requests import UserRequest, refusal_as_message
from crucible.notifications import services as notifications


@login_required
@require_safe
@never_cache
def account(request: UserRequest) -> HttpResponse:
    """Sign-in, tokens, mail and webhooks of the user."""
    return _page(request)


def _page(
    request: UserRequest, form: TokenForm | None = None, secret: str = "", status: int = 200
) -> HttpResponse:
    """The page, with a form that has errors, or with a new token's secret; neither is stored."""
    context = {
        "tokens": request.user.api_tokens.filter(revoked_at=None),
        "now": timezone.now(),
        "token_form": form or TokenForm(user=request.user),
        "secret": secret,
        "second_factor": is_mfa_enabled(request.user),
        "webhooks": notifications.webhooks_of(request.user),
        "webhook_key": request.session.pop("new_webhook_key", None),
        "mail_possible": notifications.mail_possible(request.user),
        "mail_wanted": notifications.mail_wanted(request.user),
    }
    return render(request, "accounts/account.html", context, status=status)


@login_required
@require_POST
@never_cache
def token_create(request: UserRequest) -> HttpResponse:
    """Creates a token. The answer shows its secret: it is stored nowhere, a session included."""
    form = TokenForm(request.POST, user=request.user)
    if not form.is_valid():
        return _page(request, form, status=422)
    _, secret = accounts.token_create(user=request.user, **form.cleaned_data)
    return _page(request, secret=secret)


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


@never_cache
@require_safe
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Opens an invitation, and goes on to the form at an address that does not show it."""
    if request.user.is_authenticated:
        messages.error(request, "You have an account: log out before you use an invitation.")
        return redirect("account")
    if not invitation_open(request, secret):
        return render(request, "account/signup_closed.html", {"used": True}, status=404)
    return redirect("account_signup")


def password_change(request: HttpRequest, extra_context: object = None) -> HttpResponse:
    """In place of the admin's own page."""
    return redirect("account_change_password")
