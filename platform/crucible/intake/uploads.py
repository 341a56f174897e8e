"""Receives shards: streams them to disk, hashes them, and shows only complete ones."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from crucible.budgets.selectors import budget_check
from crucible.entries.models import Shard, Upload
from crucible.intake.services import scale_check
from submissions.failures import Failure

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# No character with a meaning for a shell or a file system; no leading dot, so no hidden file.
SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


def folder_of(upload: Upload) -> Path:
    """The folder of an upload's shards."""
    return settings.DATASETS_DIR / str(upload.id)


def upload_create(*, user: User, scale: str | None = None) -> Upload:
    """A new, empty upload with its folder.

    With a scale, it is refused at once if the site does not run that scale or the budget allows no
    submission there (`budget_exceeded`).
    """
    if scale is not None:
        scale = scale_check(scale)
        budget_check(user=user, scale=scale)
    upload = Upload.objects.create(user=user)
    folder_of(upload).mkdir(parents=True)
    return upload


def upload_get(*, user: User, upload_id: UUID) -> Upload:
    """An upload of this user; raises `not_found` for any other."""
    upload = Upload.objects.filter(id=upload_id, user=user).first()
    if upload is None:
        raise Failure("not_found", f"you have no upload {upload_id}")
    return upload


def shard_receive(
    *, upload: Upload, name: str, chunks: Iterable[bytes], sha256: str | None = None
) -> Shard:
    """Writes a shard and registers it; a shard of the same name is replaced.

    Refuses a name that is not a plain file name, an upload that is closed or would exceed
    `CRUCIBLE_MAX_UPLOAD`, and content whose SHA-256 is not the expected one.
    """
    if not SHARD_NAME.fullmatch(name):
        raise Failure(
            "refused", f"rename {name!r}: a file name has only letters, digits, . _ and -"
        )
    if upload.closed_at is not None:
        raise Failure(
            "refused", f"open a new upload: {upload.id} is closed, it belongs to a submission"
        )
    others = upload.shards.exclude(name=name).aggregate(total=Sum("bytes"))["total"] or 0
    allowed = settings.CRUCIBLE_MAX_UPLOAD - others
    folder = folder_of(upload)
    partial = folder / f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
    # By hand, because the file takes its place inside the transaction that registers it.
    digest, size = hashlib.sha256(), 0
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > allowed:
                    raise Failure(
                        "refused",
                        f"reduce the dataset to {settings.CRUCIBLE_MAX_UPLOAD} bytes:"
                        f" with {name} it has more",
                    )
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if sha256 and digest.hexdigest() != sha256.lower():
            raise Failure("refused", f"send {name} again: its SHA-256 is not the expected one")
        with transaction.atomic():
            # Again, and locked: a submission may have closed the upload while we were writing.
            if Upload.objects.select_for_update().get(id=upload.id).closed_at is not None:
                raise Failure("refused", f"open a new upload: {upload.id} was closed meanwhile")
            shard, _ = Shard.objects.update_or_create(
                upload=upload, name=name, defaults={"bytes": size, "sha256": digest.hexdigest()}
            )
            partial.rename(folder / name)
    finally:
        partial.unlink(missing_ok=True)
    return shard


def upload_discard(upload: Upload) -> None:
    """Removes an upload that no submission uses."""
    folder = folder_of(upload)
    upload.delete()
    shutil.rmtree(folder, ignore_errors=True)
