"""The per-example answers behind a score: one parquet file each, by hash, in RECORDS_DIR."""

from __future__ import annotations

import shutil
from pathlib import Path

from django.conf import settings

from evaluation.answers import TaskAnswers, read_answers
from submissions.failures import Failure
from submissions.files import placed_atomically
from submissions.hashing import file_sha256
from submissions.job import Artifact


def records_keep(artifact: Artifact) -> str:
    """Copies the file that the score stage made to where it stays; returns its hash.

    Keeping the same file twice is harmless. Raises `artifact_missing` or `artifact_corrupt`.
    """
    made = artifact.verified(file_sha256)
    target = records_path(artifact.sha256)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with placed_atomically(target, durable=False) as partial:
            shutil.copyfile(made, partial)
    return artifact.sha256


def records_path(sha256: str) -> Path:
    """Where the records of this hash lie."""
    folder: Path = settings.RECORDS_DIR
    return folder / f"{sha256}.parquet"


def records_kept(sha256: str) -> bool:
    """Whether the records of this hash are still there."""
    return bool(sha256) and records_path(sha256).is_file()


def answers_of_records(sha256: str) -> dict[str, TaskAnswers] | None:
    """What was answered, by task; None where the records are not kept (any more)."""
    if not records_kept(sha256):
        return None
    try:
        return read_answers(records_path(sha256))
    except Failure:
        return None
