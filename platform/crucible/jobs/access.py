"""Gives an attempt its access to a store, as a file of mode 0600, and takes it back."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from crucible.intake.references import access_for
from crucible.jobs.models import Attempt
from crucible.jobs.stages import INPUTS_OF
from submissions.states import Stage
from submissions.store_access import write_access


def access_give(attempt: Attempt) -> Path | None:
    """Writes the file for a stage that reads the dataset by reference; None for any other job."""
    stage = Stage(attempt.stage)
    if stage != Stage.VALIDATE and INPUTS_OF[stage][0] != Stage.VALIDATE:
        return None
    access = access_for(attempt.submission)
    if access is None:
        return None
    write_access(_path(attempt), access)
    return _path(attempt)


def access_take_back(attempt: Attempt) -> None:
    """Removes the file once the attempt is over."""
    _path(attempt).unlink(missing_ok=True)


def _path(attempt: Attempt) -> Path:
    return settings.ACCESS_DIR / f"{attempt.key}.json"
