"""What django-allauth does differently here: who may sign up, links, mails, and what is counted."""

from __future__ import annotations

import base64
import hashlib
import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage
from allauth.core import ratelimit
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from crucible.accounts.addresses import client_address
from crucible.accounts.invitations import invitation_use, may_sign_up
from crucible.accounts.links import site_link
from crucible.lookalikes import lookalike
from submissions.failures import Failure

logger = logging.getLogger(__name__)

# What the site itself writes where a user's name could stand: in the history, and when it forgets.
PLATFORM, FORGOTTEN = "crucible", "forgotten-"


class AccountAdapter(DefaultAccountAdapter):
    """Accounts of this site."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return may_sign_up(request)

    @transaction.atomic
    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Saves the new account and spends its invitation, both or neither."""
        saved: User = super().save_user(request, user, form, commit)
        if commit:
            _warn_of_lookalike(request, saved)
            try:
                invitation_use(request, saved)
            except Failure:
                transaction.set_rollback(True)
                closed = render(request, "account/signup_closed.html", status=403)
                raise ImmediateHttpResponse(closed) from None
        return saved

    def clean_username(self, username: str, shallow: bool = False) -> str:
        if username.lower() == PLATFORM or username.lower().startswith(FORGOTTEN):
            raise ValidationError("The site uses this name itself: choose another.")
        return str(super().clean_username(username, shallow))

    def set_password(self, user: User, password: str) -> None:
        """Also forgets this account's failed attempts: who can set a password is its owner."""
        super().set_password(user, password)
        ratelimit.clear(self.request, action="login_failed", key=_key_of(user))

    def get_login_stages(self) -> list[str]:
        """As allauth's, with the confirmation of the address asked only of those who signed up."""
        theirs, ours = (
            f"{stage.__module__}.{stage.__qualname__}"
            for stage in (EmailVerificationStage, ConfirmationStage)
        )
        return [ours if path == theirs else path for path in super().get_login_stages()]

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """What failed attempts are counted by: the account, however the visitor spells its name.

        allauth's own begins with the request's `Host`, whose port the visitor chooses freely.
        """
        name = credentials.get("username") or ""
        user = User.objects.filter(username=User.normalize_username(name)).first()
        return _key_of(user) if user else f"name {name}"

    def get_reset_password_from_key_url(self, key: str) -> str:
        uid, _, token = key.partition("-")
        return site_link("account_reset_password_from_key", uidb36=uid, key=token)

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        return site_link("account_confirm_email", key=emailconfirmation.key)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Sends, or says in the log why not: the page that asked for it is shown all the same."""
        if not settings.EMAIL_HOST:
            logger.info("no mail server is set: an organiser can hand out the link")
            return
        message = self.render_mail(
            template_prefix, email, context | {"site": settings.CRUCIBLE_SITE}
        )
        try:
            message.send()
        except OSError as error:  # smtplib's own errors are OSErrors too
            logger.warning("a mail about an account was not sent: %s", error)


def _warn_of_lookalike(request: HttpRequest, user: User) -> None:
    """Tells the new user, and the log, whose name theirs looks like."""
    others = User.objects.exclude(pk=user.pk).values_list("username", flat=True)
    like = lookalike(user.get_username(), others)
    if like is not None:
        messages.warning(request, f"Your name looks like the user {like}: readers may confuse you.")
        logger.warning("user %s signed up with a name that looks like that of %s", user, like)


def _key_of(user: User) -> str:
    return f"account {user.pk}"


class ConfirmationStage(EmailVerificationStage):
    """Who signed up confirms the address before signing in for the first time.

    An account that an organiser made, and one that has been in use, does not wait for a mail.
    """

    def handle(self) -> tuple[HttpResponse | None, bool]:
        user = self.login.user
        if user is not None:
            addresses = EmailAddress.objects.filter(user=user)
            if user.last_login is not None or not addresses.exists():
                return None, True
        return super().handle()


class SecondFactorAdapter(DefaultMFAAdapter):
    """Second factors: their secrets are useless in a copy of the database alone."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _cipher().decrypt(encrypted_text.encode()).decode()

    def get_totp_label(self, user: User) -> str:
        return user.get_username()


def _cipher() -> Fernet:
    key = hashlib.sha256(b"second factors" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
