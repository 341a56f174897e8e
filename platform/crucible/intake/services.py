"""What people do to submissions: create, cancel, retry, hold, prioritise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from crucible.budgets.services import budget_reserve
from crucible.entries.models import Event, Submission, Upload
from crucible.entries.moves import event_add, submission_move
from crucible.entries.states import EventKind
from crucible.hints import hint_on_commit
from crucible.intake.references import reference_create
from crucible.lookalikes import lookalike
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from crucible.roles.permissions import Permission, may, require
from submissions.check import check_track
from submissions.failures import Failure
from submissions.mixture import MIXTURE
from submissions.most_data import MostData
from submissions.names import checked_name, checked_text
from submissions.states import TERMINAL, Fault, State, Track
from training_recipes.scales import load_scale

if TYPE_CHECKING:
    from django.contrib.auth.models import User

COMPARED = 10_000  # submissions of others, the newest, with which a name is compared
MAX_RETRIES = 3  # by the owner; organisers have no limit


def scale_check(scale: str) -> str:
    """The scale's canonical name; refuses one that does not exist or is not run here."""
    scale = load_scale(scale).name
    if scale not in settings.CRUCIBLE_SCALES:
        raise Failure(
            "refused",
            f"choose one of {', '.join(settings.CRUCIBLE_SCALES)}: this site does not run {scale}",
        )
    return scale


def size_check(*, scale: str, size: int) -> None:
    """Refuses a dataset of so many bytes, as it is stored, which that scale cannot use."""
    found = load_scale(scale)
    most = MostData.of(
        scale, found.tokens_needed, found.bytes_per_token, settings.CRUCIBLE_MAX_MULTIPLE
    )
    most.check(stored=size)


def lookalike_of(*, user: User, name: str) -> str | None:
    """Whose submission, or which user, a submission's name looks like; None where nobody's.

    Compared with all other users' names, and with the newest of their submissions.
    """
    User = get_user_model()  # noqa: N806
    users = User.objects.exclude(pk=user.pk).values_list("username", flat=True)
    if (found := lookalike(name, users)) is not None:
        return f"the user {found}"
    others = Submission.objects.exclude(user=user).values_list("name", "id", "user__username")
    newest = {title: (number, owner) for title, number, owner in others[:COMPARED]}
    if (found := lookalike(name, newest)) is None:
        return None
    number, owner = newest[found]
    return f"submission {number}, {found}, by {owner}"


@transaction.atomic
def submission_create(
    *,
    user: User,
    name: str,
    description: str,
    track: str,
    scale: str,
    seed: int | None,
    upload_id: UUID,
    store_key: str = "",
) -> Submission:
    """Creates a submission of the upload, and closes the upload.

    An upload that holds a manifest is a dataset by reference, read with the user's store key of
    that name. Raises `Failure` if the name is missing, track or scale are unknown, the upload is
    empty, used or not the user's, the manifest may not be read by, or the budget does not allow it;
    `not_permitted` for who is no participant.
    """
    require(user, Permission.SUBMIT)
    name = checked_name(name, "the submission's name", 80)
    description = checked_text(description, "the description", 4000)
    check_track(track)
    if seed is not None and not 0 <= seed < 2**31:
        raise Failure("refused", "choose a seed from 0 to 2,147,483,647")
    scale = scale_check(scale)
    upload = Upload.objects.select_for_update().filter(id=upload_id, user=user).first()
    if upload is None:
        raise Failure("not_found", f"you have no upload {upload_id}")
    if upload.closed_at is not None:
        raise Failure(
            "refused", f"upload the files again: {upload_id} already belongs to a submission"
        )
    if not upload.shards.exclude(name=MIXTURE).exists():
        raise Failure("dataset_empty", f"the upload {upload_id} holds no shard")
    size_check(scale=scale, size=upload.shards.aggregate(total=Sum("bytes"))["total"])
    if track != Track.MIXING and upload.shards.filter(name=MIXTURE).exists():
        raise Failure(
            "mixture_invalid", f"remove {MIXTURE}, or choose the mixing track instead of {track}"
        )
    reference = reference_create(upload=upload, store_key=store_key)
    if reference is not None:
        size_check(scale=scale, size=reference.bytes)
    upload.closed_at = timezone.now()
    upload.save(update_fields=["closed_at"])
    submission = Submission.objects.create(
        user=user,
        name=name,
        description=description,
        track=track,
        scale=scale,
        seed=load_scale(scale).seed if seed is None else seed,
        upload=upload,
        waiting_for="the pipeline",
    )
    Event.objects.create(
        submission=submission,
        sequence=0,
        kind=EventKind.SUBMITTED,
        to_state=State.SUBMITTED,
        actor=user.get_username(),
    )
    budget_reserve(submission=submission, actor=user.get_username())
    hint_on_commit(submission.id)
    return submission


def _locked(submission_id: int, actor: User, permission: Permission) -> Submission:
    """The locked row, for who has the permission; others do not learn that it exists.

    Owners may cancel and retry without a permission.
    """
    submission = Submission.objects.select_for_update().filter(id=submission_id).first()
    own = submission is not None and submission.user_id == actor.pk
    if submission is None or not (own or may(actor, Permission.SEE)):
        raise Failure("not_found", f"you have no submission {submission_id}")
    if not (own and permission in (Permission.CANCEL, Permission.RETRY)):
        require(actor, permission)
    return submission


def _record(submission: Submission, actor: User, what: ActKind, detail: str = "") -> None:
    act_record(
        actor=actor,
        what=what,
        about=f"submission {submission.id}",
        on_whom=submission.user,
        detail=detail,
    )


def may_be_cancelled(submission: Submission, actor: Any) -> bool:
    """Whether the user can cancel it: the owner, or who may cancel submissions of others."""
    return not submission.is_over and (
        submission.user_id == actor.pk or may(actor, Permission.CANCEL)
    )


@transaction.atomic
def submission_cancel(*, submission_id: int, actor: User) -> Submission:
    """Cancels a submission; the pipeline then stops its processes."""
    submission = _locked(submission_id, actor, Permission.CANCEL)
    state = State(submission.state)
    if state in TERMINAL:
        raise Failure("refused", f"submission {submission_id} is already {state.value}")
    if state != State.CANCELLING:
        submission_move(
            submission=submission,
            to=State.CANCELLING,
            actor=actor.get_username(),
            waiting_for="its processes to stop",
        )
        if submission.user_id != actor.pk:
            _record(submission, actor, ActKind.CANCELLED)
    return submission


def may_be_retried(submission: Submission, actor: Any) -> bool:
    """Whether a retry is possible: the platform failed it, and the owner has retries left.

    Who may retry submissions of others has no limit, not even for their own.
    """
    failure = submission.failure or {}
    ours = submission.state == State.FAILED and failure.get("fault") == Fault.INFRASTRUCTURE
    left = submission.user_id == actor.pk and submission.retries < MAX_RETRIES
    return ours and (left or may(actor, Permission.RETRY))


@transaction.atomic
def submission_retry(*, submission_id: int, actor: User) -> Submission:
    """Continues from the stage that failed, with new attempts; after a refund it reserves again."""
    submission = _locked(submission_id, actor, Permission.RETRY)
    if not may_be_retried(submission, actor):
        raise Failure(
            "refused",
            f"submission {submission_id} cannot be retried: the platform must have failed it, and"
            f" its owner may retry {MAX_RETRIES} times",
        )
    failed = submission.events.filter(kind=EventKind.FAILED).last()
    assert failed is not None  # each move leaves its event
    Submission.objects.filter(id=submission_id).update(
        retries=F("retries") + 1, retried_at=timezone.now()
    )
    submission_move(
        submission=submission,
        to=State(failed.from_state),
        actor=actor.get_username(),
        waiting_for="the pipeline",
        detail={"retry": submission.retries + 1},
    )
    budget_reserve(submission=submission, actor=actor.get_username())
    if submission.user_id != actor.pk:
        _record(submission, actor, ActKind.RETRIED)
    submission.refresh_from_db()
    return submission


@transaction.atomic
def submission_hold(*, submission_id: int, actor: User, reason: str) -> None:
    """Holds a submission, or with an empty reason releases it. Running jobs continue."""
    reason = checked_name(reason, "the reason", 200) if reason else ""
    submission = _locked(submission_id, actor, Permission.HOLD)
    if submission.held_for == reason or submission.is_over:
        return
    submission.held_for = reason
    submission.save(update_fields=["held_for"])
    event_add(
        submission=submission,
        kind=EventKind.HELD if reason else EventKind.RELEASED,
        actor=actor.get_username(),
        detail={"reason": reason} if reason else {},
    )
    _record(submission, actor, ActKind.HELD if reason else ActKind.RELEASED, reason)


@transaction.atomic
def submission_prioritise(*, submission_id: int, actor: User, priority: int) -> None:
    """Sets the priority in the queue: higher goes first."""
    submission = _locked(submission_id, actor, Permission.PRIORITISE)
    if submission.priority == priority or submission.is_over:
        return
    submission.priority = priority
    submission.save(update_fields=["priority"])
    event_add(
        submission=submission,
        kind=EventKind.PRIORITISED,
        actor=actor.get_username(),
        detail={"priority": priority},
    )
    _record(submission, actor, ActKind.PRIORITISED, str(priority))
