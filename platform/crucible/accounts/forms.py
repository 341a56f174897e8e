"""The form of a new API token."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from crucible.accounts.scopes import USUAL, WORDS, Scope, scopes_offered
from crucible.accounts.services import LONGEST_LABEL
from submissions.failures import Failure
from submissions.names import checked_name


class TokenForm(forms.Form):
    """Label, scopes among those that the user's tokens can have, and days until it ends."""

    label = forms.CharField(
        max_length=LONGEST_LABEL, required=False, help_text="For you, to tell tokens apart.",
        widget=forms.TextInput(attrs={"placeholder": "my laptop"}),
    )  # fmt: skip
    scopes = forms.MultipleChoiceField(
        label="It may", widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one thing that the token may do."},
    )  # fmt: skip
    days = forms.FloatField(label="Days until it expires")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = scopes_offered(user)
        self.fields["scopes"].choices = [(s.value, f"{s}: {WORDS[s]}") for s in offered]  # type: ignore[attr-defined]
        self.fields["scopes"].initial = [scope.value for scope in USUAL]
        longest = settings.CRUCIBLE_TOKEN_DAYS
        self.fields["days"] = forms.FloatField(
            label="Days until it expires",
            min_value=1,
            max_value=longest,
            initial=int(longest) if longest == int(longest) else longest,
        )

    def clean_label(self) -> str:
        label = self.cleaned_data["label"].strip() or "command line"
        try:
            return checked_name(label, "the token's label", LONGEST_LABEL)
        except Failure as failure:
            raise ValidationError(failure.message) from None

    def clean_scopes(self) -> list[Scope]:
        return [Scope(name) for name in self.cleaned_data["scopes"]]
