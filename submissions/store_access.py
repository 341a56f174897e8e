"""What a job may read by reference: a file of mode 0600 beside the jobs, one for each attempt.

The platform writes it at the launch and removes it when the attempt is over. A job in a cage never
sees it: the process that fetches for the job runs outside.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from submissions.codec import encode, read
from submissions.failures import Failure

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class StoreCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """A key pair of a store; never shown."""

    access_key_id: Text
    secret_access_key: Text
    session_token: str = ""

    def __repr__(self) -> str:
        return "StoreCredentials(…)"

    __str__ = __repr__


class StoreAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job may read, and with which key.

    `endpoints` as `manifest.endpoint_of` writes them; `networks` that are not public and may be
    reached all the same (CIDR); `folders` of this machine below which may be read.
    """

    endpoints: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    credentials: StoreCredentials | None = None


def write_access(path: Path, access: StoreAccess) -> None:
    """Writes the file for its owner alone, whatever the umask, and whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode(access))
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_access(path: Path) -> StoreAccess:
    """Reads the file; raises `artifact_missing` without naming anything that is in it."""
    try:
        return read(StoreAccess, path, code="artifact_missing", limit=2**20)
    except Failure:
        raise Failure("artifact_missing", "the job's access to its store is not there") from None
