"""Writes a file so that a reader sees the old content or the whole new one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, overload


@contextlib.contextmanager
def placed_atomically(
    path: Path, *, durable: bool = True, one_writer: bool = False
) -> Iterator[Path]:
    """The path of a partial file beside `path`, for the body to write; then it takes its place.

    `durable` brings its content to the disk before that. After an exception the partial file is
    gone and `path` is as it was. Its hidden name is a new one every time, so that several may write
    at once; with `one_writer` it is always the same, so that what a killed process left behind is
    overwritten and does not pile up.
    """
    ending = "partial" if one_writer else os.urandom(4).hex()
    partial = path.with_name(f".{path.name}.{ending}")
    try:
        yield partial
        if durable:
            _to_disk(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@overload
def written_atomically(
    path: Path, mode: Literal["w"] = "w", *, durable: bool = True, one_writer: bool = False
) -> contextlib.AbstractContextManager[IO[str]]: ...
@overload
def written_atomically(
    path: Path, mode: Literal["wb"], *, durable: bool = True, one_writer: bool = False
) -> contextlib.AbstractContextManager[IO[bytes]]: ...
@contextlib.contextmanager
def written_atomically(
    path: Path, mode: str = "w", *, durable: bool = True, one_writer: bool = False
) -> Iterator[Any]:
    """The partial file of `placed_atomically`, open for text in UTF-8 or for bytes."""
    encoding = None if "b" in mode else "utf-8"
    with (
        placed_atomically(path, durable=durable, one_writer=one_writer) as partial,
        partial.open(mode, encoding=encoding) as file,
    ):
        yield file


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
