"""Receives shards: streams them to disk, hashes them, and shows only complete ones."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import Sum

from crucible.budgets.selectors import budget_check
from crucible.entries.models import Shard, Upload
from crucible.intake.places import folder_of
from crucible.intake.services import scale_check, size_check
from crucible.intake.transfers import (
    bytes_stored,
    check_open,
    check_shards,
    check_stored,
)
from crucible.roles.permissions import Permission, require
from submissions.failures import Failure

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# No character with a meaning for a shell or a file system; no leading dot, so no hidden file.
SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


def upload_create(*, user: User, scale: str | None = None, size: int = 0) -> Upload:
    """A new, empty upload with its folder; refused beyond `CRUCIBLE_MAX_OPEN_UPLOADS` open ones.

    With a scale, it is refused at once if the site does not run that scale or the budget allows no
    submission there (`budget_exceeded`); with the size that is to come, in bytes, also if that is
    more than the scale can use (`dataset_too_large`); and to who is no participant
    (`not_permitted`).
    """
    require(user, Permission.SUBMIT)
    if scale is not None:
        scale = scale_check(scale)
        size_check(scale=scale, size=size)
        budget_check(user=user, scale=scale)
    with transaction.atomic():
        _user_lock(user.pk)
        check_open(user)
        upload = Upload.objects.create(user=user)
    folder_of(upload).mkdir(parents=True)
    return upload


def _user_lock(user_id: int) -> None:
    """Until the transaction ends, nothing else is added for this user."""
    get_user_model().objects.select_for_update(no_key=True).get(pk=user_id)


def upload_get(*, user: User, upload_id: UUID) -> Upload:
    """An upload of this user, a participant; raises `not_found` for any other."""
    require(user, Permission.SUBMIT)
    upload = Upload.objects.filter(id=upload_id, user=user).first()
    if upload is None:
        raise Failure("not_found", f"you have no upload {upload_id}")
    return upload


def shard_receive(
    *, upload: Upload, name: str, chunks: Iterable[bytes], size: int, sha256: str | None = None
) -> Shard:
    """Writes a shard and registers it; a shard of the same name is replaced.

    `size`: its announced bytes. Refuses a name that is not a plain file name, an upload that is
    closed or would exceed `CRUCIBLE_MAX_UPLOAD` or `CRUCIBLE_MAX_SHARDS`, a user beyond
    `CRUCIBLE_MAX_STORED`, content of another size, and content whose SHA-256 is not the expected
    one.
    """
    if not SHARD_NAME.fullmatch(name):
        raise Failure(
            "refused", f"rename {name!r}: a file name has only letters, digits, . _ and -"
        )
    _may_take(upload, name, size)
    folder = folder_of(upload)
    partial = folder / f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
    # By hand, because the file takes its place inside the transaction that registers it.
    digest, received = hashlib.sha256(), 0
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                received += len(chunk)
                if received > size:
                    break
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if received != size:
            raise Failure("refused", f"send {name} again: it was announced with {size} bytes")
        if sha256 and digest.hexdigest() != sha256.lower():
            raise Failure("refused", f"send {name} again: its SHA-256 is not the expected one")
        if not connection.in_atomic_block:  # as in a server: it may have idled for hours
            connection.close_if_unusable_or_obsolete()
        with transaction.atomic():
            _user_lock(upload.user_id)
            # Again, and locked: while we were writing, a submission may have closed the upload,
            # and other shards may have filled it.
            locked = Upload.objects.select_for_update().get(id=upload.id)
            _may_take(locked, name, size)
            shard, _ = Shard.objects.update_or_create(
                upload=upload, name=name, defaults={"bytes": size, "sha256": digest.hexdigest()}
            )
            partial.rename(folder / name)
    finally:
        partial.unlink(missing_ok=True)
    return shard


def _may_take(upload: Upload, name: str, size: int) -> None:
    """Raises `refused` if the upload is closed, or if the shard would make it too large."""
    if upload.closed_at is not None:
        raise Failure(
            "refused", f"open a new upload: {upload.id} is closed, it belongs to a submission"
        )
    others = upload.shards.exclude(name=name).aggregate(total=Sum("bytes"))["total"] or 0
    if others + size > settings.CRUCIBLE_MAX_UPLOAD:
        raise Failure(
            "refused",
            f"reduce the dataset to {settings.CRUCIBLE_MAX_UPLOAD} bytes: with {name} it has more",
        )
    check_shards(upload, name)
    there = upload.shards.filter(name=name).aggregate(total=Sum("bytes"))["total"] or 0
    check_stored(bytes_stored(upload.user) - there + size)


@transaction.atomic
def upload_remove(*, user: User, upload_id: UUID) -> None:
    """Removes an upload of this user that no submission uses; raises `not_found`, `refused`."""
    upload = Upload.objects.select_for_update().filter(id=upload_id, user=user).first()
    if upload is None:
        raise Failure("not_found", f"you have no upload {upload_id}")
    if upload.closed_at is not None:
        raise Failure("refused", f"keep {upload_id}: it belongs to a submission")
    upload_discard(upload)


def upload_discard(upload: Upload) -> None:
    """Removes an upload that no submission uses."""
    folder = folder_of(upload)
    upload.delete()
    shutil.rmtree(folder, ignore_errors=True)
