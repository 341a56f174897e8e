"""Links that an organiser hands out where no mail arrives; also those in the site's mails.

They begin with the site's own address, never with the `Host` that a request names.
"""

from __future__ import annotations

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse

from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from crucible.roles.permissions import Permission, require
from crucible.roles.services import Role, rights_of
from submissions.failures import Failure

SET_PASSWORD, CONFIRM = "to set a password", "to confirm a mail address"


def site_link(name: str, **parts: str) -> str:
    """The full address of the site's page `name`."""
    return str(settings.CRUCIBLE_SITE) + reverse(name, kwargs=parts)


def link_hand_out(*, user: User, what: str, actor: User | None) -> str:
    """A new link for this user: `SET_PASSWORD` or `CONFIRM`. It is an act.

    `actor`: who asks; None: a command on the machine. Raises `not_permitted` if they may not, and
    `refused` for an account with more rights than a participant's, unless the administrator asks:
    who holds the link becomes that user.
    """
    if actor is not None:
        require(actor, Permission.LINK)
        above = user.is_staff or rights_of(user) - {Role.PARTICIPANT}
        if above and not actor.is_superuser:
            raise Failure("refused", "only an administrator may do this")
    link = confirmation_link(user) if what == CONFIRM else password_link(user)
    act_record(
        actor=actor, what=ActKind.LINK_MADE, about=f"user {user.pk}", on_whom=user, detail=what
    )
    return link


def password_link(user: User) -> str:
    """A page on which this user sets a new password; works once, `PASSWORD_RESET_TIMEOUT` long."""
    if not user.is_active:
        raise Failure("refused", f"the account {user.get_username()!r} is closed")
    key = default_token_generator.make_token(user)
    return site_link("account_reset_password_from_key", uidb36=user_pk_to_url_str(user), key=key)


def confirmation_link(user: User) -> str:
    """A page that confirms the user's address which waits for it; raises `Failure` if none does."""
    address = EmailAddress.objects.filter(user=user, verified=False).first()
    if address is None:
        raise Failure("not_found", f"no address of {user.get_username()!r} waits for confirmation")
    return site_link("account_confirm_email", key=EmailConfirmationHMAC.create(address).key)


def invitation_link(secret: str) -> str:
    """A page on which its holder makes an account."""
    return site_link("invitation", secret=secret)
