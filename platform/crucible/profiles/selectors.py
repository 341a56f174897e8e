"""Reads profiles for those who may see them."""

from __future__ import annotations

from typing import Any

from crucible.entries.models import Submission
from crucible.entries.selectors import may_look_inside
from crucible.profiles.models import DatasetProfile
from submissions.codec import convert
from submissions.failures import Failure
from submissions.profile.kept import SAMPLE, SKETCH, Sample, Sketches, read_sample, read_sketches
from submissions.profile.results import Profile


def profile_of_submission(submission: Submission) -> DatasetProfile | None:
    """The profile, once the stage has finished."""
    return DatasetProfile.objects.filter(submission=submission).first()


def figures_of(profile: DatasetProfile) -> Profile:
    """The figures as their type; raises `artifact_corrupt`."""
    where = f"the profile of submission {profile.submission_id}"
    return convert(Profile, profile.figures, code="artifact_corrupt", where=where)


def may_read_sample(user: Any, profile: DatasetProfile) -> bool:
    """The owner and staff always; others who see the submission if the owner allowed it."""
    return profile.sample_is_public or may_look_inside(user, profile.submission)


def sample_of(profile: DatasetProfile) -> Sample | None:
    """The texts and the map; None where the file is gone or damaged."""
    try:
        return read_sample(profile.folder / SAMPLE)
    except Failure:
        return None


def sketches_of(profile: DatasetProfile) -> Sketches:
    """What two profiles are compared by; raises `profile_invalid`."""
    return read_sketches(profile.folder / SKETCH)
