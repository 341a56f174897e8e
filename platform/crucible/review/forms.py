"""Forms of reviewers and of participants."""

from __future__ import annotations

from django import forms

from crucible.review.models import VerdictKind


class VerdictForm(forms.Form):
    """A verdict and its reason."""

    kind = forms.ChoiceField(choices=VerdictKind.choices, widget=forms.RadioSelect, label="Verdict")
    reason = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=2000,
        label="Reason",
        help_text="The participant reads it.",
    )


class AppealForm(forms.Form):
    """The one appeal of a submission."""

    text = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 5}), max_length=4000, label="Your reasons"
    )
