"""Refuses to start with an invalid suite."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import Error, register

from evaluation.suite import load_suite
from submissions.failures import Failure


@register()
def suite_can_be_read(**kwargs: Any) -> list[Error]:
    """`CRUCIBLE_SUITE` is a suite by name, or a file that is one."""
    try:
        load_suite(settings.CRUCIBLE_SUITE)
    except Failure as failure:
        return [Error(f"CRUCIBLE_SUITE: {failure.message}.", id="crucible.E007")]
    return []
