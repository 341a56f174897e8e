"""A new password ends what the old one could have opened."""

from __future__ import annotations

from django.contrib.auth.models import User

from crucible.accounts.services import tokens_revoke


class TokensEnd:
    """In the list of password validators because Django tells these of every password that is set.

    By form, by link, in the admin, at the command line: all other sessions end by Django's own
    means, and here the API tokens. It accepts every password.
    """

    def validate(self, password: str, user: User | None = None) -> None:
        return None

    def get_help_text(self) -> str:
        return "Setting it ends all other sessions and all API tokens of the account."

    def password_changed(self, password: str, user: User | None = None) -> None:
        if user is not None and user.pk is not None:
            tokens_revoke(user=user)
