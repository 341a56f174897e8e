"""The per-example answers behind each score: one parquet file, by its hash, in RECORDS_DIR."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings

from evaluation.answers import TaskAnswers, read_answers
from evaluation.metrics import aggregates
from evaluation.suite import Suite
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


def soft_means(suite: Suite, sha256: str) -> dict[str, Any] | None:
    """Soft means by their figure, those that are known; None where there is none."""
    if not records_kept(sha256):
        return None
    from evaluation.likelihood import likelihood_document

    document = likelihood_document(suite, records_path(sha256))
    if document["problem"] is not None:
        return None
    found = {name: document[f"soft_{name}"] for name in aggregates(suite)}
    return {name: value for name, value in found.items() if value is not None} or None


def answers_of_records(sha256: str) -> dict[str, TaskAnswers] | None:
    """The answers by task; None if the file is missing or cannot be read."""
    if not records_kept(sha256):
        return None
    try:
        return read_answers(records_path(sha256))
    except Failure:
        return None
