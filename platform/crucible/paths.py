"""Paths of this installation; without Django, because the supervisor needs them first."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
# Bytes of a request's body that anybody may send: forms, and what the API takes as JSON. The front
# reads so much before a process of the site hears of the request.
SMALL_BODY = 65_536
# The note in a home into which a backup is being restored: such a home is not whole.
RESTORING = "restore-under-way"


def migrations_of(app: str) -> Path:
    """The folder of the migrations of one of our apps; of others' apps, there is none."""
    return REPOSITORY / "platform" / "crucible" / app / "migrations"


def home() -> Path:
    """The folder of everything that changes: database, datasets, jobs, logs (`CRUCIBLE_HOME`)."""
    return Path(os.environ.get("CRUCIBLE_HOME") or REPOSITORY / "var").resolve()


def home_close(path: Path, *, root: bool) -> None:
    """Creates the folder, or removes the rights of other users from it; adds no rights.

    As root, PostgreSQL runs as `nobody`, who may pass through the folder and not read it.
    """
    allowed = 0o711 if root else 0o700
    if path.exists():
        allowed &= path.stat().st_mode
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(allowed)  # whatever the umask is


def read_secret(path: Path) -> str | None:
    """A secret stored in a file, or None if there is none yet."""
    return path.read_text().strip() if path.exists() else None


def write_secret(path: Path, value: str) -> str:
    """Stores a secret in a file that only its owner can read, and returns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(value + "\n")
    return value
