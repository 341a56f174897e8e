"""Where jobs run. `backend_get` gives the one that an attempt was sent to."""

from __future__ import annotations

from django.conf import settings

from crucible.jobs.backends.base import Backend
from crucible.jobs.backends.local import LocalBackend

DEFAULT = "local"


def backend_get(name: str = DEFAULT) -> Backend:
    """The backend of that name; today there is one."""
    if name != "local":
        raise KeyError(f"there is no backend {name!r}")
    return LocalBackend(settings.JOBS_DIR, slots=settings.CRUCIBLE_LOCAL_SLOTS)
