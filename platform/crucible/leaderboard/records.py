"""The single answers behind a score: one parquet file each, kept by hash below RECORDS_DIR."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from evaluation.answers import TaskAnswers, read_answers
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.job import Artifact

KEPT = 8  # submissions whose answers a process remembers: 10 MiB each of the full suite


def records_keep(artifact: Artifact) -> str:
    """Copies the file that the score stage made to where it stays; returns its hash.

    Keeping the same file twice is harmless. Raises `artifact_missing` or `artifact_corrupt`.
    """
    made = artifact.verified(file_sha256)
    target = records_path(artifact.sha256)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(made, partial)
        partial.replace(target)
    return artifact.sha256


def records_path(sha256: str) -> Path:
    """Where the records of this hash lie."""
    folder: Path = settings.RECORDS_DIR
    return folder / f"{sha256}.parquet"


def answers_of_records(sha256: str) -> dict[str, TaskAnswers] | None:
    """What was answered, by task; None where the records are not kept (any more)."""
    path = records_path(sha256)
    if not sha256 or not path.is_file():
        return None
    try:
        return _read(path)
    except Failure:
        return None


@lru_cache(maxsize=KEPT)  # for comparisons; a file's content never changes
def _read(path: Path) -> dict[str, TaskAnswers]:
    return {label: _sharing(task) for label, task in read_answers(path).items()}


def _sharing(task: TaskAnswers) -> TaskAnswers:
    """The same with one copy, for all submissions, of which questions were asked."""
    return replace(task, index=_one_copy(task.index), category=_one_copy(task.category))


_COPIES: dict[bytes, NDArray[np.int64]] = {}


def _one_copy(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return _COPIES.setdefault(blake2b(numbers.tobytes()).digest(), numbers)
