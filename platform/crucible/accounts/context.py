"""What every page may ask about signing up."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def signing_up(request: HttpRequest) -> dict[str, bool]:
    """Whether a link to the sign-up page is worth showing, and whether the site sends mail."""
    return {
        "sign_up_open": settings.CRUCIBLE_SIGN_UP == "open",
        "site_sends_mail": bool(settings.EMAIL_HOST),
    }
