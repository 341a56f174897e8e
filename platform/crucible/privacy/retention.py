"""Removes files and rows whose time, by the settings, is over: nothing that a score rests on.

A submission's files count from its last event, and only once it is over. Each folder is first moved
aside under the lock of its row, so that a retry finds it whole or not at all.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from crucible.accounts.models import ApiToken, Invitation
from crucible.entries.models import Submission, Upload
from crucible.intake.places import folder_of
from crucible.intake.uploads import upload_discard
from crucible.jobs.models import LIVE
from crucible.notifications.models import Notice
from crucible.privacy.removals import removals_allowed
from submissions.limits import size_of
from submissions.states import TERMINAL, State
from training_recipes.cost import size_text

ABANDONED = 86_400  # seconds after which nobody writes to a shard that is not whole any more
ASIDE = ".removed-"  # before the name of a folder that is on its way out
# Of these the dataset serves nothing any more; a published one is needed to compute its score anew.
WITHOUT_SCORE = [State.FAILED, State.CANCELLED]


@dataclass
class Tally:
    """What a run removed, or would have."""

    what: str
    count: int = 0
    bytes: int = 0

    def line(self, dry_run: bool) -> str:
        """For people."""
        verb = "would remove" if dry_run else "removed"
        size = f", {size_text(self.bytes)}" if self.bytes else ""
        return f"{verb} {self.count} {self.what}{size}"


def retention_run(*, dry_run: bool) -> list[str]:
    """Removes what is due, or counts it; a line for each kind, with the setting that says so.

    While a backup is made, nothing is removed: the backup may not have read it yet.
    """
    if dry_run:
        return _run(dry_run=True)
    with removals_allowed() as allowed:
        return _run(dry_run=False) if allowed else ["removed nothing: a backup is being made"]


def _run(*, dry_run: bool) -> list[str]:
    steps: dict[str, tuple[str, Callable[[datetime, Tally, bool], None]]] = {
        "uploads": ("uploads that nobody submitted", _uploads),
        "datasets": ("datasets of submissions that failed or were cancelled", _datasets),
        "work": ("work folders of submissions that are over", _work),
        "logs": ("job folders, logs included, of submissions that are over", _job_folders),
        "rows": (
            "rows: sessions, sent notices, ended tokens and invitations, the admin's log",
            _rows,
        ),
    }
    lines = []
    for name, (what, step) in steps.items():
        days = settings.CRUCIBLE_KEEP_DAYS[name]
        if not days:
            lines.append(f"kept for ever (CRUCIBLE_KEEP_{name.upper()}=0): {what}")
            continue
        tally = Tally(f"{what}, older than {days:g} days")
        step(timezone.now() - timedelta(days=days), tally, dry_run)
        lines.append(tally.line(dry_run))
    if not dry_run:
        _sweep()
    return lines


def _uploads(before: datetime, tally: Tally, dry_run: bool) -> None:
    """Those in which nothing happened since; the folder's time tells of shards on their way."""
    for upload in Upload.objects.filter(closed_at=None, created_at__lt=before):
        folder = folder_of(upload)
        if folder.exists() and folder.stat().st_mtime >= before.timestamp():
            continue
        size = size_of([folder])
        if not dry_run:
            with transaction.atomic():
                locked = Upload.objects.select_for_update(skip_locked=True)
                again = locked.filter(id=upload.id, closed_at=None).first()
                if again is None:  # submitted meanwhile
                    continue
                upload_discard(again)
        tally.count, tally.bytes = tally.count + 1, tally.bytes + size


def _datasets(before: datetime, tally: Tally, dry_run: bool) -> None:
    over = _over(before).filter(state__in=WITHOUT_SCORE)

    def of(submission: Submission) -> list[Path]:
        return [folder_of(submission.upload), settings.PROFILES_DIR / str(submission.id)]

    _folders(over, of, tally, dry_run)


def _work(before: datetime, tally: Tally, dry_run: bool) -> None:
    _folders(_over(before), lambda submission: [settings.WORK_DIR / str(submission.id)], tally,
             dry_run)  # fmt: skip


def _job_folders(before: datetime, tally: Tally, dry_run: bool) -> None:
    def of(submission: Submission) -> list[Path]:
        keys = submission.attempts.values_list("key", flat=True)
        return [settings.JOBS_DIR / key for key in keys]

    _folders(_over(before), of, tally, dry_run)


def _rows(before: datetime, tally: Tally, dry_run: bool) -> None:
    due: list[QuerySet[Any]] = [
        Session.objects.filter(expire_date__lt=before),
        Notice.objects.filter(Q(sent_at__lt=before) | Q(gave_up_at__lt=before)),
        ApiToken.objects.filter(Q(revoked_at__lt=before) | Q(expires_at__lt=before)),
        Invitation.objects.filter(expires_at__lt=before, used_at=None),
        LogEntry.objects.filter(action_time__lt=before),
    ]
    for rows in due:
        tally.count += rows.count()
        if not dry_run:
            rows.delete()


def _over(before: datetime) -> QuerySet[Submission]:
    """Submissions to which nothing happens any more, and for so long."""
    return (
        Submission.objects.filter(state__in=TERMINAL)
        .exclude(attempts__state__in=LIVE)
        .annotate(last=Max("events__created_at"))
        .filter(last__lt=before)
    )


def _folders(
    due: QuerySet[Submission], of: Callable[[Submission], list[Path]], tally: Tally, dry_run: bool
) -> None:
    for submission_id in due.values_list("id", flat=True):
        with transaction.atomic():
            locked = Submission.objects.select_for_update(skip_locked=True, of=("self",))
            submission = (
                locked.select_related("upload")
                .filter(id=submission_id, state__in=TERMINAL)
                .exclude(attempts__state__in=LIVE)
                .first()
            )
            if submission is None:  # retried meanwhile, or at work
                continue
            folders = [folder for folder in of(submission) if folder.is_dir()]
            tally.count, tally.bytes = tally.count + len(folders), tally.bytes + size_of(folders)
            if not dry_run:
                aside = [folder.rename(folder.with_name(ASIDE + folder.name)) for folder in folders]
        if not dry_run:
            for folder in aside:
                shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """What an earlier run moved aside and did not get to remove, and what a crash cut off."""
    for folder in _left_aside():
        shutil.rmtree(folder, ignore_errors=True)
    before = time.time() - ABANDONED
    cut = [*settings.DATASETS_DIR.glob("*/.*"), *settings.FILE_UPLOAD_TEMP_DIR.glob("*.upload*")]
    for path in cut:
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < before:
                path.unlink()


def _left_aside() -> Iterator[Path]:
    for parent in (
        settings.WORK_DIR, settings.JOBS_DIR, settings.DATASETS_DIR, settings.PROFILES_DIR,
    ):  # fmt: skip
        yield from parent.glob(f"{ASIDE}*")
