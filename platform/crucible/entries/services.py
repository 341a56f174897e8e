"""Changes to submissions: creation, the compare-and-set move with its event, cancellation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from crucible.entries.models import Event, Submission, Upload
from crucible.entries.states import TERMINAL, TRANSITIONS, State, Track
from submissions.check import check_track
from submissions.failures import Failure
from submissions.mixture import MIXTURE
from training_recipes.scales import load_scale

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PLATFORM = "crucible"


class StaleState(Exception):
    """Somebody else moved the submission first; whoever sees this looks again and does nothing."""


def _check_request(name: str, track: str, scale: str) -> None:
    if not name.strip():
        raise Failure("refused", "the submission needs a name")
    check_track(track)
    load_scale(scale)
    if scale not in settings.CRUCIBLE_SCALES:
        raise Failure(
            "refused",
            f"this site does not run the scale {scale}, only {', '.join(settings.CRUCIBLE_SCALES)}",
        )


@transaction.atomic
def submission_create(
    *, user: User, name: str, description: str, track: str, scale: str, seed: int | None,
    upload_id: UUID,
) -> Submission:  # fmt: skip
    """Closes the upload and puts it into the pipeline.

    Raises `Failure` when the request makes no sense: no name, unknown track or scale, an upload
    that is empty, not the user's, or used before.
    """
    _check_request(name, track, scale)
    upload = Upload.objects.select_for_update().filter(id=upload_id, user=user).first()
    if upload is None:
        raise Failure("not_found", f"you have no upload {upload_id}")
    if upload.closed_at is not None:
        raise Failure("refused", f"the upload {upload_id} belongs to a submission already")
    if not upload.shards.exclude(name=MIXTURE).exists():
        raise Failure("dataset_empty", f"the upload {upload_id} holds no shard")
    if track != Track.MIXING and upload.shards.filter(name=MIXTURE).exists():
        raise Failure("mixture_invalid", f"a {MIXTURE} belongs to the mixing track, not to {track}")
    upload.closed_at = timezone.now()
    upload.save(update_fields=["closed_at"])
    submission = Submission.objects.create(
        user=user, name=name.strip()[:80], description=description[:4000], track=track,
        scale=scale, seed=load_scale(scale).seed if seed is None else seed, upload=upload,
        waiting_for="the pipeline",
    )  # fmt: skip
    Event.objects.create(
        submission=submission, sequence=0, kind="submitted", to_state=State.SUBMITTED,
        actor=user.get_username(),
    )  # fmt: skip
    _hint_on_commit(submission.id)
    return submission


def submission_move(
    *, submission: Submission, to: State, actor: str = PLATFORM, waiting_for: str = "",
    detail: dict[str, Any] | None = None, failure: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """One allowed move, by compare-and-set, with its event in the same transaction.

    Raises `ValueError` for a move that the table does not hold (a bug) and `StaleState` when the
    submission has moved since it was read.
    """
    origin = State(submission.state)
    if to not in TRANSITIONS[origin]:
        raise ValueError(f"a submission cannot go from {origin} to {to}")
    with transaction.atomic():
        moved = Submission.objects.filter(
            id=submission.id, state=origin, version=submission.version
        ).update(
            state=to, version=F("version") + 1, failure=failure, waiting_for=waiting_for,
            due_at=timezone.now(),
        )  # fmt: skip
        if not moved:
            raise StaleState(f"submission {submission.id} is no longer {origin}")
        submission.version += 1
        submission.state = to
        submission.failure = failure
        submission.waiting_for = waiting_for
        event_add(
            submission=submission, kind=to.value, from_state=origin, actor=actor, detail=detail
        )
        _hint_on_commit(submission.id)


def event_add(
    *, submission: Submission, kind: str, from_state: str | None = None, actor: str = PLATFORM,
    detail: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Appends to the history; called with the submission's row locked or just moved."""
    sequence = Event.objects.filter(submission=submission).count()
    Event.objects.create(
        submission=submission, sequence=sequence, kind=kind, actor=actor, detail=detail or {},
        from_state=submission.state if from_state is None else from_state,
        to_state=submission.state,
    )  # fmt: skip


@transaction.atomic
def submission_cancel(*, submission_id: int, actor: User) -> Submission:
    """Asks for the end of a submission; the pipeline then stops its processes."""
    submission = Submission.objects.select_for_update().filter(id=submission_id).first()
    if submission is None or not (actor.is_staff or submission.user_id == actor.pk):
        raise Failure("not_found", f"you have no submission {submission_id}")
    state = State(submission.state)
    if state in TERMINAL:
        raise Failure("refused", f"submission {submission_id} is {state.value} already")
    if state != State.CANCELLING:
        submission_move(
            submission=submission, to=State.CANCELLING, actor=actor.get_username(),
            waiting_for="its processes to stop",
        )  # fmt: skip
    return submission


def _hint_on_commit(submission_id: int) -> None:
    from crucible.jobs.tasks import send_hint

    transaction.on_commit(lambda: send_hint(submission_id))
