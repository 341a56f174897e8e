"""Content hashes: of a file, and of a set of files by their own hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(hashes: Iterable[str]) -> str:
    """SHA-256 over sorted hexadecimal hashes, one a line: the hash of a dataset or a folder.

    Names and order do not matter, content does; so a renamed shard is the same dataset.
    """
    return hashlib.sha256("".join(f"{h}\n" for h in sorted(hashes)).encode()).hexdigest()


def folder_sha256(folder: Path) -> str:
    """`combined_sha256` over every file below `folder`."""
    return combined_sha256(file_sha256(p) for p in folder.rglob("*") if p.is_file())
