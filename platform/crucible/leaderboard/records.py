"""The per-example answers behind each score: one parquet file, by its hash, in RECORDS_DIR."""

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
    """Copies the file of the stage `score` into RECORDS_DIR; returns its hash.

    Copying a file twice is harmless. Raises `artifact_missing` or `artifact_corrupt`.
    """
    made = artifact.verified(file_sha256)
    target = records_path(artifact.sha256)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with placed_atomically(target, durable=False) as partial:
            shutil.copyfile(made, partial)
    return artifact.sha256


def records_path(sha256: str) -> Path:
    """The path of the file with this hash."""
    folder: Path = settings.RECORDS_DIR
    return folder / f"{sha256}.parquet"


def records_kept(sha256: str) -> bool:
    """Whether the file with this hash exists."""
    return bool(sha256) and records_path(sha256).is_file()


def answers_of_records(sha256: str) -> dict[str, TaskAnswers] | None:
    """The answers by task; None if the file is missing or cannot be read."""
    if not records_kept(sha256):
        return None
    try:
        return read_answers(records_path(sha256))
    except Failure:
        return None
