"""Refuses to start with an invalid suite, or a target scale that does not exist."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import Error, register

from evaluation.suite import load_suite
from submissions.failures import Failure
from training_recipes.scales import scale_names


@register()
def suite_can_be_read(**kwargs: Any) -> list[Error]:
    """`CRUCIBLE_SUITE` is a suite by name, or a file that is one."""
    try:
        load_suite(settings.CRUCIBLE_SUITE)
    except Failure as failure:
        return [Error(f"CRUCIBLE_SUITE: {failure.message}.", id="crucible.E007")]
    return []


@register()
def target_scale_exists(**kwargs: Any) -> list[Error]:
    """`CRUCIBLE_TARGET_SCALE` is a scale, or empty."""
    target = settings.CRUCIBLE_TARGET_SCALE
    if not target or target in scale_names():
        return []
    hint = f"Choose from {', '.join(scale_names())}, or leave it empty."
    return [
        Error(f"CRUCIBLE_TARGET_SCALE names {target!r}, which does not exist.", hint=hint,
              id="crucible.E008")
    ]  # fmt: skip
