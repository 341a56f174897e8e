"""The type of a scan's figures holds what a report holds."""

from __future__ import annotations

from msgspec import structs

from evaluation.contamination.results import ScannedTask
from evaluation.contamination.rules import SEVERITIES


def test_a_scanned_task_counts_every_severity() -> None:
    names = [field.name for field in structs.fields(ScannedTask)]
    assert names == ["examples", "checkable", *SEVERITIES]
