"""The form by which a dataset is handed in through the browser."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from crucible.entries.states import Track


class ShardsInput(forms.ClearableFileInput):
    """A file field for several files at once."""

    allow_multiple_selected = True


class ShardsField(forms.FileField):
    """Cleans to a list of files."""

    widget = ShardsInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        files = data if isinstance(data, list | tuple) else [data]
        return [super(ShardsField, self).clean(file, initial) for file in files]


class SubmissionForm(forms.Form):
    """What the participant says about the dataset, and its shards."""

    name = forms.CharField(max_length=80, help_text="How the leaderboard will call it.")
    track = forms.ChoiceField(choices=Track.choices)
    scale = forms.ChoiceField()
    description = forms.CharField(
        required=False, max_length=4000, widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Sources, steps, weights: what another laboratory needs to make it again.",
    )  # fmt: skip
    seed = forms.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1,
        help_text="Leave empty for the recipe's own.",
    )  # fmt: skip
    shards = ShardsField(
        help_text="Up to 100 .jsonl, .jsonl.gz, .jsonl.zst or .parquet files; each document has a"
        " key “text”. On the mixing track, a mixture.json beside them gives sources their weights."
        " The command “crucible submit” takes any number and goes on where a connection broke."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scales = [(name, name) for name in settings.CRUCIBLE_SCALES]
        self.fields["scale"] = forms.ChoiceField(choices=scales)
