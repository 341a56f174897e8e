"""The profile of a submission's dataset; its sample and its sketch are files in PROFILES_DIR."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models

from crucible.entries.models import Submission


class DatasetProfile(models.Model):
    """What the stage `profile` found, as `submissions.profile.results.Profile` reads it."""

    submission = models.OneToOneField(
        Submission, on_delete=models.PROTECT, related_name="dataset_profile"
    )
    figures = models.JSONField()
    sample_is_public = models.BooleanField(
        default=False, help_text="Whether everybody who sees the submission may read its sample."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-submission"]

    def __str__(self) -> str:
        return f"the profile of {self.submission_id}"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        root: Path = settings.PROFILES_DIR
        return root / str(self.submission_id)
