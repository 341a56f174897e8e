"""Keeps profiles, lays out those that a new dataset is compared with, and opens samples."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from crucible.entries.models import Submission
from crucible.profiles.models import DatasetProfile
from submissions.failures import Failure
from submissions.files import placed_atomically
from submissions.hashing import file_sha256
from submissions.job import Artifact, ResultDocument
from submissions.profile.kept import AGAINST, SAMPLE, SKETCH
from submissions.profile.results import Profile

EARLIER = 5  # of the same user's datasets, the newest, that a new one is compared with
POOL = "the pool"


@transaction.atomic
def profile_take_over(*, submission: Submission, result: ResultDocument) -> DatasetProfile:
    """Keeps what the stage found, with its files; doing so twice is harmless.

    Raises `artifact_missing` or `artifact_corrupt` where something is not what the stage wrote.
    """
    result.figures_as(Profile)  # before anything is kept
    profile = DatasetProfile(submission=submission)
    profile.folder.mkdir(parents=True, exist_ok=True)
    for name, file in (("sample", SAMPLE), ("sketch", SKETCH)):
        _copy(result.outputs[name].verified(file_sha256), profile.folder / file)
    found, _ = DatasetProfile.objects.update_or_create(
        submission=submission, defaults={"figures": result.figures}
    )
    return found


def sketches_lay_out(*, submission: Submission) -> dict[str, Artifact]:
    """Copies of the sketches to compare with, by the name of the input, in the submission's work.

    A job sees no file of another submission, so it gets copies: of the pool's, if the site has its
    profile, and of the newest datasets that the same user submitted before for track and scale.
    """
    folder = settings.WORK_DIR / str(submission.id) / "against"
    sources: dict[str, Path] = {}
    if settings.CRUCIBLE_POOL_PROFILE:
        sources[POOL] = Path(settings.CRUCIBLE_POOL_PROFILE) / SKETCH
    earlier = DatasetProfile.objects.filter(
        submission__user=submission.user, submission__track=submission.track,
        submission__scale=submission.scale, submission_id__lt=submission.id,
    )  # fmt: skip
    for profile in earlier.select_related("submission")[:EARLIER]:
        name = f"{profile.submission.name} (submission {profile.submission_id})"
        sources[name] = profile.folder / SKETCH
    laid: dict[str, Artifact] = {}
    for number, (name, source) in enumerate(sources.items()):
        if source.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{number}.npz"
            _copy(source, target)
            laid[AGAINST + name] = Artifact(target.as_uri(), file_sha256(target))
    return laid


def sample_open(*, submission: Submission, user: Any, public: bool) -> None:
    """The owner's decision whether everybody who sees the submission may read its sample.

    Raises `not_found` for others, and where there is no profile.
    """
    changed = DatasetProfile.objects.filter(submission=submission, submission__user=user).update(
        sample_is_public=public
    )
    if not changed:
        raise Failure("not_found", "there is no sample of yours to open or close")


def _copy(source: Path, target: Path) -> None:
    with placed_atomically(target, durable=False) as partial:
        shutil.copyfile(source, partial)
