"""Progress of long work: shown on a terminal, written to a job's progress.jsonl, or dropped."""

from __future__ import annotations

import sys
from typing import Protocol


class Progress(Protocol):
    """Called whenever a visible step is done; cheap enough to call often.

    `step` of `of` `unit`s are done (`of` is 0 while the total is unknown); `metrics` are figures to
    show beside the bar, such as loss or tokens per second.
    """

    def __call__(
        self, step: int, of: int, unit: str, message: str = "", **metrics: float
    ) -> None: ...


def no_progress(step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
    """Reports nothing: for library callers and tests."""


class TerminalProgress:
    """A tqdm bar on standard error; a new bar whenever the unit or the total changes."""

    def __init__(self) -> None:
        self._bar = None
        self._kind: tuple[str, int] | None = None

    def __call__(self, step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        from tqdm import tqdm

        if self._kind != (unit, of):
            self.close()
            self._bar = tqdm(total=of or None, unit=unit, file=sys.stderr, dynamic_ncols=True)
            self._kind = (unit, of)
        assert self._bar is not None
        self._bar.set_description_str(message, refresh=False)
        self._bar.set_postfix({k: f"{v:.4g}" for k, v in metrics.items()}, refresh=False)
        self._bar.update(step - self._bar.n)

    def close(self) -> None:
        """Leaves the last state of the bar on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = self._kind = None


def progress_for_terminal() -> Progress:
    """A bar on a terminal, nothing where standard error is a file or a pipe."""
    return TerminalProgress() if sys.stderr.isatty() else no_progress
