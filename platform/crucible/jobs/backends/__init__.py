"""Backends run jobs: `backend_name_for` chooses one for a job, `backend_get` returns it."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

from django.conf import settings

from crucible.jobs.backends.base import Backend
from crucible.jobs.backends.cage import PROGRAM, REQUIRED, Cage, cage_found
from crucible.jobs.backends.local import LocalBackend
from crucible.jobs.backends.local_limits import limits_of
from crucible.jobs.backends.ray import RayBackend
from crucible.jobs.backends.rules import rules_load
from crucible.jobs.backends.slurm import SlurmBackend

DEFAULT = "local"


def backend_name_for(stage: str, scale: str) -> str:
    """The backend of such a job, by the file of CRUCIBLE_BACKENDS; `local` if no rule matches."""
    return rules_load(settings.CRUCIBLE_BACKENDS).scheduler_for(stage, scale) or DEFAULT


def backend_get(name: str = DEFAULT) -> Backend:
    """The backend of that name."""
    if name == LocalBackend.name:
        return _local()
    if name == SlurmBackend.name:
        return _slurm(settings.JOBS_DIR, settings.CRUCIBLE_BACKENDS)
    if name == RayBackend.name:
        return RayBackend(
            settings.JOBS_DIR, settings.CRUCIBLE_BACKENDS, settings.CRUCIBLE_RAY_TOKEN
        )
    raise KeyError(f"there is no backend {name!r}")


def _local() -> LocalBackend:
    """With the limits that the file names, and in a cage where there is one."""
    limits = partial(limits_of, rules=rules_load(settings.CRUCIBLE_BACKENDS).limits)
    return LocalBackend(settings.JOBS_DIR, settings.CRUCIBLE_LOCAL_SLOTS, limits, cage_here())


def cage_here() -> Cage | None:
    """The cage of jobs on this machine, as the settings say what they may read.

    Where one is required that no longer works, jobs get it all the same, and fail.
    """
    required = settings.CRUCIBLE_CAGE == REQUIRED
    program = cage_found(settings.CRUCIBLE_CAGE).program or (PROGRAM if required else "")
    if not program:
        return None
    named = [settings.CRUCIBLE_EVAL_DATA]
    if settings.CRUCIBLE_SUITE.endswith(".json"):
        named.append(settings.CRUCIBLE_SUITE)
    readable = tuple(Path(name).absolute() for name in named if name)
    return Cage(program, settings.DATASETS_DIR, settings.HOME, readable)


@lru_cache(maxsize=4)
def _slurm(root: Path, rules: str) -> SlurmBackend:
    """One object, because it caches the scheduler's answer about all jobs for a moment."""
    return SlurmBackend(root, rules)
