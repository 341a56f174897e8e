"""Log lines as JSON, with the submission and attempt that each is about, without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_about: ContextVar[tuple[int | None, str | None]] = ContextVar("about", default=(None, None))


@contextmanager
def logged_about(submission: int | None, attempt: str | None = None) -> Iterator[None]:
    """Log lines of its body carry this submission's number and this attempt's key."""
    token = _about.set((submission, attempt))
    try:
        yield
    finally:
        _about.reset(token)


class JsonLine(logging.Formatter):
    """Fields: time, level, logger, submission, attempt, message; traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        from crucible.redaction import redact  # reads the settings, which configure this class

        submission, attempt = _about.get()
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "submission": submission,
            "attempt": attempt,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)
