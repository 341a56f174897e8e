"""Refuses to start with settings that would make submissions fail late, hang or run twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import Error, register
from django.core.checks import Warning as Caution

from crucible.intake.store_rules import settings_problems
from crucible.jobs.backends.cage import AUTO, OFF, REQUIRED, cage_found
from crucible.jobs.backends.rules import rules_load
from crucible.paths import REPOSITORY
from submissions.job import code_commit
from training_recipes.scales import load_scale, scale_names


@register()
def task_limit_below_visibility_timeout(**kwargs: Any) -> list[Error]:
    """A broker delivers an unacknowledged task again after its visibility timeout."""
    limit, timeout = settings.CELERY_TASK_TIME_LIMIT, settings.CELERY_VISIBILITY_TIMEOUT
    if limit < timeout:
        return []
    return [
        Error(
            f"A task may run {limit} s, but the broker delivers it again after {timeout} s.",
            hint="Keep CELERY_TASK_TIME_LIMIT below CELERY_VISIBILITY_TIMEOUT.",
            id="crucible.E001",
        )
    ]


@register()
def scales_can_be_run(**kwargs: Any) -> list[Error | Caution]:
    """Each open scale must exist and have its evaluation data: found now, not after training."""
    problems: list[Error | Caution] = []
    for scale in settings.CRUCIBLE_SCALES:
        if scale not in scale_names():
            problems.append(
                Error(
                    f"CRUCIBLE_SCALES names {scale!r}, which does not exist.",
                    hint=f"Choose from {', '.join(scale_names())}.",
                    id="crucible.E002",
                )
            )
        elif not load_scale(scale).bundled:
            problems += _large_scale(scale)
    return problems


def _large_scale(scale: str) -> list[Error | Caution]:
    slow = Caution(
        f"The scale {scale} is open, but it needs GPUs: on CPUs alone it takes days to years.",
        hint="Run its training on a cluster with GPUs (docs/backends.md), or on local GPUs.",
        id="crucible.W001",
    )
    if settings.CRUCIBLE_EVAL_DATA and Path(settings.CRUCIBLE_EVAL_DATA).is_dir():
        return [slow]
    return [
        slow,
        Error(
            f"The scale {scale} needs the files of the 53 tasks.",
            hint="Set CRUCIBLE_EVAL_DATA to the folder that `crucible suite verify` accepts.",
            id="crucible.E003",
        ),
    ]


@register()
def code_has_a_name(**kwargs: Any) -> list[Error]:
    """A score records the commit that made it, so git must know the commit of this checkout."""
    if code_commit(REPOSITORY) != "unknown":
        return []
    return [
        Error(
            "git cannot name the commit of this checkout; no score is published without it.",
            hint="Install git, run Crucible from a clone, and own it (git's safe.directory).",
            id="crucible.E004",
        )
    ]


@register()
def backends_can_be_used(**kwargs: Any) -> list[Error]:
    """The file of CRUCIBLE_BACKENDS must be valid; if it uses Slurm, Slurm must be installed."""
    try:
        rules = rules_load(settings.CRUCIBLE_BACKENDS)
    except ValueError as error:
        return [Error(f"CRUCIBLE_BACKENDS: {error}.", id="crucible.E005")]
    missing = [name for name in ("sbatch", "squeue", "scancel") if not shutil.which(name)]
    if rules.of("slurm").jobs and missing:
        return [
            Error(
                f"CRUCIBLE_BACKENDS sends jobs to Slurm, but {missing[0]} is not installed.",
                hint="Run the worker on a machine that can submit Slurm jobs.",
                id="crucible.E006",
            )
        ]
    return []


@register()
def stores_are_named_well(**kwargs: Any) -> list[Error]:
    """Said at the start, and not by the first submission by reference."""
    return [Error(f"{said}.", id="crucible.E030") for said in settings_problems()]


@register()
def cage_is_as_required(**kwargs: Any) -> list[Error | Caution]:
    """Said at the start, because jobs would run all the same."""
    mode = settings.CRUCIBLE_CAGE
    if mode not in (AUTO, REQUIRED, OFF):
        return [Error(f"CRUCIBLE_CAGE is {mode!r}, not auto, required or off.", id="crucible.E020")]
    found = cage_found(mode)
    if found.program or mode == OFF:
        return []
    hint = "Install bubblewrap, and let users make namespaces (docs/backends.md)."
    if mode == REQUIRED:
        return [Error(f"CRUCIBLE_CAGE is required, but {found.words}.", hint=hint,
                      id="crucible.E021")]  # fmt: skip
    return [Caution(f"On this machine {found.words}.", hint=hint, id="crucible.W020")]
