"""The progress of an evaluation: within a task, or within the queue of all tasks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from submissions.progress import Progress


class TaskProgress:
    """Reports the progress of one task among all, and when it should be done."""

    def __init__(self, progress: Progress, name: str, rows: int, before: int, total: int) -> None:
        self._progress, self._name, self._rows = progress, name, rows
        self._before, self._total, self._done = before, total, 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __call__(self, count: int) -> None:
        self._done += count
        figures = {}
        if self._done:
            figures["task_eta_seconds"] = self.seconds / self._done * (self._rows - self._done)
        step = min(self._before + self._done, self._total)
        self._progress(step, self._total, "example", self._name, **figures)


class QueueProgress:
    """Reports the progress of all tasks together, whose questions are answered in any order.

    `rows` are the examples of each task, `known` those that an earlier run answered. Of several
    processes one reports for all, which have equal shares: `share` is its part of what is new.
    """

    def __init__(
        self, progress: Progress, rows: Mapping[str, int], known: Mapping[str, int], share: float
    ) -> None:
        self._progress, self._rows, self._share = progress, rows, share
        self._known = Counter(known)
        self._new: Counter[str] = Counter()
        self._started = time.monotonic()
        self.tell("")

    def add(self, task: str, count: int, left: float) -> None:
        """`count` more examples of a task; `left` is the part of the computing still to be done."""
        self._new[task] += count
        self.tell(task, left)

    def tell(self, task: str, left: float = 1.0) -> None:
        """The examples done of all tasks, those of `task`, and when all should be done."""
        total = sum(self._rows.values())
        step = min(self._known.total() + round(self._new.total() / self._share), total)
        finished = sum(self._done(name) >= rows for name, rows in self._rows.items())
        message = f"{finished} of {len(self._rows)} tasks"
        if task:
            message += f", {task} {min(self._done(task), self._rows[task])} of {self._rows[task]}"
        figures = {}
        if 0 <= left < 1:
            figures["eta_seconds"] = (time.monotonic() - self._started) * left / (1 - left)
        self._progress(step, total, "example", message, **figures)

    def _done(self, task: str) -> int:
        return self._known[task] + round(self._new[task] / self._share)
