"""Forms for datasets that stay where they lie: the submission, and a key of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from crucible.budgets.selectors import BudgetRow
from crucible.intake.forms import SubmissionForm
from crucible.intake.models import StoreKey
from submissions.manifest import MANIFEST


class ReferenceForm(SubmissionForm):
    """The description of the dataset, and its manifest in place of shards."""

    shards = None  # type: ignore[assignment]  # Django's way to leave out a parent's field
    manifest = forms.FileField(
        help_text=f"The file {MANIFEST} that “crucible manifest” wrote. The site never takes the"
        " data itself: its jobs read each shard where it lies and compare it with the manifest."
    )
    mixture = forms.FileField(
        required=False, help_text="On the mixing track: the mixture.json with each source’s weight."
    )
    store_key = forms.ChoiceField(
        required=False,
        help_text="With which key the store is read; none for presigned addresses, folders and"
        " public buckets.",
    )

    def __init__(
        self, *args: Any, budgets: Sequence[BudgetRow], keys: Sequence[StoreKey], **kwargs: Any
    ) -> None:
        super().__init__(*args, budgets=budgets, **kwargs)
        choices = [("", "none"), *((key.name, str(key)) for key in keys)]
        self.fields["store_key"] = forms.ChoiceField(
            choices=choices, required=False, help_text=self.fields["store_key"].help_text
        )


class StoreKeyForm(forms.Form):
    """A read-only key of one store."""

    name = forms.CharField(max_length=40, help_text="What you call it.")
    endpoint = forms.ChoiceField(label="Store")
    access_key_id = forms.CharField(
        label="Key id", max_length=256, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    secret_access_key = forms.CharField(
        label="Secret",
        max_length=1024,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Never shown again. Make the key so that it can only read the one prefix.",
    )

    def __init__(self, *args: Any, stores: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["endpoint"] = forms.ChoiceField(
            label="Store", choices=[(store, store) for store in stores]
        )
