"""The form that submits a dataset in the browser."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from crucible.budgets.selectors import BudgetRow
from crucible.entries.states import choices_of
from submissions.states import Track


class ShardsInput(forms.ClearableFileInput):
    """A file field for several files at once."""

    allow_multiple_selected = True


class ShardsField(forms.FileField):
    """Cleans to a list of files."""

    widget = ShardsInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        files = data if isinstance(data, list | tuple) else [data]
        return [super(ShardsField, self).clean(file, initial) for file in files]


class ScaleSelect(forms.Select):
    """A list that disables the scales which the budget does not allow."""

    def __init__(self, closed: Collection[str]) -> None:
        super().__init__()
        self.closed = closed

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        if value in self.closed:
            option["attrs"]["disabled"] = True
        return option


class SubmissionForm(forms.Form):
    """The description of the dataset, and its shards."""

    name = forms.CharField(max_length=80, help_text="The name on the leaderboard.")
    track = forms.ChoiceField(choices=choices_of(Track))
    scale = forms.ChoiceField()
    description = forms.CharField(
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Sources, steps, weights: what another laboratory needs to make it again.",
    )
    seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text="Leave empty for the recipe's seed.",
    )
    shards = ShardsField(
        help_text="Up to 100 .jsonl, .jsonl.gz, .jsonl.zst or .parquet files; each document has a"
        " key “text”. On the mixing track, add a mixture.json to give each source its weight."
        " The command “crucible submit” takes any number of files and resumes a broken upload."
    )

    def __init__(self, *args: Any, budgets: Sequence[BudgetRow], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [
            (row.scale, f"{row.scale}: {row.left}" if row.left else row.scale) for row in budgets
        ]
        closed = {row.scale for row in budgets if row.refusal}
        possible = [row.scale for row in budgets if row.scale not in closed]
        self.fields["scale"] = forms.ChoiceField(
            choices=choices,
            widget=ScaleSelect(closed),
            initial=possible[0] if possible else None,
            help_text="" if possible else "Your budget allows no submission now; see below.",
        )
