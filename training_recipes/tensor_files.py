"""Writes files of tensors so that a reader sees the old file or the whole new one."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import torch

from submissions.failures import Failure
from submissions.files import placed_atomically

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no disk, no quota, a limit on file sizes


def save_tensors(path: Path, document: dict[str, Any]) -> None:
    """Writes and fsyncs beside `path`, then renames; `disk_full` leaves what was there before."""
    try:
        # Always one name: the leftovers of a kill may be as large as the disk has room for.
        with (
            placed_atomically(path, one_writer=True) as partial,
            _Sink(io.FileIO(partial, "w")) as sink,
        ):
            try:
                torch.save(document, sink)
            except RuntimeError:  # what torch makes of an error in `write`
                if sink.error is None:
                    raise
                raise sink.error from None
    except OSError as error:
        if error.errno in NO_SPACE:
            raise Failure("disk_full", f"no space left for {path}") from None
        raise


class _Sink(io.BufferedWriter):
    """A file that remembers why a write failed."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """As BufferedWriter's."""
        try:
            return super().write(content)
        except OSError as error:
            self.error = error
            raise
