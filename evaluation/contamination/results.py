"""What the stage `scan` reports, as a type; only data, so that the site reads it."""

from __future__ import annotations

from typing import Any

import msgspec


class ScannedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task's examples, how many can be checked, and how many stand somewhere, by severity."""

    examples: int
    checkable: int
    high: int = 0
    medium: int = 0
    review: int = 0
    passage: int = 0


class ScanResult(msgspec.Struct, frozen=True, kw_only=True):
    """The report without its long lists, which stand in report.json alone.

    `flagged_documents` counts documents by their gravest finding; `bytes` are of JSON lines,
    decompressed; `methods` are published rules that were applied besides.
    """

    index_hash: str
    documents: int
    bytes: int
    seconds: float
    missing_tasks: list[str] = []
    flagged_documents: dict[str, int] = {}
    tasks: dict[str, ScannedTask] = {}
    methods: dict[str, Any] = {}
