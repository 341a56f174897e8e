"""Where an upload's files are."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from crucible.entries.models import Upload


def folder_of(upload: Upload) -> Path:
    """The folder of an upload's shards."""
    return settings.DATASETS_DIR / str(upload.id)
