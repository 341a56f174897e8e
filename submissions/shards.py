"""Finds the shards of a dataset in files and folders, and reads their documents.

What is found does not depend on the order of the paths or of the folder's entries, and nothing that
was handed in is left out silently: a file that is neither a shard nor a known companion is refused.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from submissions.documents import Document, read_jsonl, read_parquet
from submissions.failures import Failure

__all__ = ["Document", "Shard", "find_shards", "read_documents"]

FORMATS = {".jsonl": "jsonl", ".jsonl.gz": "jsonl.gz", ".jsonl.zst": "jsonl.zst",
           ".parquet": "parquet"}  # fmt: skip
# What stands beside the shards of published datasets and holds no documents.
COMPANION_SUFFIXES = (".md", ".rst", ".yaml", ".yml", ".py", ".sh", ".png", ".jpg", ".svg", ".pdf",
                      ".log", ".sha1", ".sha256", ".md5", ".crc", ".lock")  # fmt: skip
COMPANION_NAMES = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
                   "manifest.json", "metadata.json", "stats.json", "license", "license.txt",
                   "licence", "licence.txt", "notice", "notice.txt", "readme", "readme.txt",
                   "sha1sums", "sha256sums", "md5sums", "_success"}  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """One file of documents. `name` is unique in the dataset and is what messages show."""

    path: Path
    name: str
    format: str

    @property
    def bytes(self) -> int:
        """Size of the file as it lies on disk."""
        return self.path.stat().st_size


def find_shards(paths: Sequence[str | Path]) -> list[Shard]:
    """The shards at `paths` (files, or folders searched to the bottom), sorted by name.

    A shard below a folder is named by its path in that folder, a single file by its file name;
    where two would get the same name, both keep their path as it was given. A file that is reached
    twice counts once. Links inside a folder are followed only to files of that same folder. Raises
    `dataset_missing`, `dataset_empty`, `unknown_format` and `shard_unreadable`.
    """
    found: dict[Path, tuple[str, Path, str]] = {}  # by real path: (short name, path, format)
    for given in paths:
        root = Path(given)
        if not root.exists():
            raise Failure("dataset_missing", f"there is no file or folder {root}")
        if root.is_dir():
            for path, kind in _shards_below(root):
                name = path.relative_to(root).as_posix()
                found.setdefault(path.resolve(), (name, path, kind))
        else:
            found.setdefault(root.resolve(), (root.name, root, _format_of_given(root)))
    if not found:
        raise Failure("dataset_empty", f"there is no shard in {', '.join(map(str, paths))}")
    uses = Counter(name for name, _, _ in found.values())
    shards = [
        Shard(path, name if uses[name] == 1 else path.as_posix(), kind)
        for name, path, kind in found.values()
    ]
    return sorted(shards, key=lambda shard: shard.name)


def read_documents(shard: Shard) -> Iterator[Document]:
    """The shard's documents in order, in bounded memory; raises at the first malformed one."""
    if shard.format == "parquet":
        return read_parquet(shard.path, shard.name)
    return read_jsonl(shard.path, shard.name, shard.format.removeprefix("jsonl").lstrip("."))


def format_of(name: str) -> str | None:
    """The format that a file name's suffix tells, or None."""
    lower = name.lower()
    return next((kind for suffix, kind in FORMATS.items() if lower.endswith(suffix)), None)


def _format_of_given(path: Path) -> str:
    kind = format_of(path.name)
    if kind is None:
        raise _unknown_format(path.name)
    if not path.is_file():
        raise Failure("shard_unreadable", "this is no regular file", shard=path.name)
    return kind


def _unknown_format(name: str) -> Failure:
    return Failure(
        "unknown_format", "the file's name ends in none of the known formats", shard=name
    )


def _is_companion(name: str) -> bool:
    lower = name.lower()
    return lower.startswith(".") or lower.endswith(COMPANION_SUFFIXES) or lower in COMPANION_NAMES


def _shards_below(root: Path) -> Iterator[tuple[Path, str]]:
    """(path, format) of every shard in a folder, hidden files and folders left out."""

    def unreadable(error: OSError) -> None:
        where = os.path.relpath(error.filename, root)
        raise Failure(
            "shard_unreadable", f"the folder cannot be read: {error.strerror}", shard=where
        )

    real_root = root.resolve()
    for folder, subfolders, files in os.walk(root, onerror=unreadable):
        for name in [n for n in subfolders if (Path(folder) / n).is_symlink()]:
            _check_inside(Path(folder) / name, root, real_root)
        subfolders[:] = sorted(n for n in subfolders if not n.startswith("."))
        for name in sorted(files):
            if _is_companion(name):
                continue
            path = Path(folder) / name
            _check_inside(path, root, real_root)
            relative = path.relative_to(root).as_posix()
            kind = format_of(name)
            if kind is None:
                raise _unknown_format(relative)
            if not path.is_file():
                raise Failure("shard_unreadable", "this is no regular file", shard=relative)
            yield path, kind


def _check_inside(path: Path, root: Path, real_root: Path) -> None:
    """A link that leads elsewhere could hand in what the participant may not read, or nothing."""
    if path.is_symlink() and not path.resolve().is_relative_to(real_root):
        raise Failure(
            "shard_unreadable", "this is a link that leads out of the folder",
            shard=path.relative_to(root).as_posix(),
        )  # fmt: skip
