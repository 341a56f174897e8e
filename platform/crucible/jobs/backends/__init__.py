"""Backends run jobs: `backend_name_for` chooses one for a job, `backend_get` returns it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from crucible.jobs.backends.base import Backend
from crucible.jobs.backends.local import LocalBackend
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
        return LocalBackend(settings.JOBS_DIR, slots=settings.CRUCIBLE_LOCAL_SLOTS)
    if name == SlurmBackend.name:
        return _slurm(settings.JOBS_DIR, settings.CRUCIBLE_BACKENDS)
    if name == RayBackend.name:
        return RayBackend(
            settings.JOBS_DIR, settings.CRUCIBLE_BACKENDS, settings.CRUCIBLE_RAY_TOKEN
        )
    raise KeyError(f"there is no backend {name!r}")


@lru_cache(maxsize=4)
def _slurm(root: Path, rules: str) -> SlurmBackend:
    """One object, because it caches the scheduler's answer about all jobs for a moment."""
    return SlurmBackend(root, rules)
