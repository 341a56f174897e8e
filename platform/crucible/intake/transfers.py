"""What each user sends and keeps here, and the caps for it.

How many bodies a user sends at once is counted in this process: all of them go to one (`uploads`
of the supervisor), however many serve the pages.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Sum

from crucible.entries.models import Shard, Upload
from submissions.failures import Failure
from training_recipes.cost import size_text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

AT_ONCE = 4  # large bodies of one user: eight users fill the pool


class Transfers:
    """The bytes that each user has announced and not yet sent."""

    def __init__(self) -> None:
        self._sizes: dict[Any, list[int]] = defaultdict(list)
        self._lock = threading.Lock()

    @contextmanager
    def one(self, user: Any, size: int) -> Iterator[None]:
        """Holds a place while a body of `size` bytes arrives.

        Raises `busy` beyond `AT_ONCE` places, and `refused` if what the user keeps here and what is
        on its way exceeded `CRUCIBLE_MAX_STORED`.
        """
        stored = bytes_stored(user)
        with self._lock:
            sizes = self._sizes[user.pk]
            if len(sizes) >= AT_ONCE:
                raise Failure(
                    "busy", f"you send {AT_ONCE} files already: wait until one has arrived"
                )
            check_stored(stored + sum(sizes) + size)
            sizes.append(size)
        try:
            yield
        finally:
            with self._lock:
                sizes.remove(size)
                if not sizes:
                    self._sizes.pop(user.pk, None)


transfers = Transfers()


def bytes_stored(user: User | Any) -> int:
    """The bytes of all shards of a user that are still on disk."""
    uploads = Upload.objects.filter(user=user).annotate(total=Sum("shards__bytes"))
    kept = [upload for upload in uploads if upload.total and _is_kept(upload)]
    return sum(upload.total for upload in kept)


def check_stored(total: int) -> None:
    """Raises `refused` if a user would keep more than `CRUCIBLE_MAX_STORED` here."""
    if total > settings.CRUCIBLE_MAX_STORED:
        raise Failure(
            "refused",
            f"you may keep {size_text(settings.CRUCIBLE_MAX_STORED)} here, and with this you would"
            f" have {size_text(total)}: ask an organiser to remove datasets that you need no more",
        )


def check_open(user: User) -> None:
    """Raises `refused` if a user has as many open uploads as `CRUCIBLE_MAX_OPEN_UPLOADS`."""
    found = Upload.objects.filter(user=user, closed_at=None)
    if found.count() >= settings.CRUCIBLE_MAX_OPEN_UPLOADS:
        oldest = found.order_by("created_at").first()
        raise Failure(
            "refused",
            f"you have {settings.CRUCIBLE_MAX_OPEN_UPLOADS} open uploads: continue one with"
            f" --upload, or remove one (DELETE /api/uploads/{oldest.id if oldest else ''})",
        )


def check_shards(upload: Upload, name: str) -> None:
    """Raises `refused` if the upload has no room for another shard."""
    others = Shard.objects.filter(upload=upload).exclude(name=name).count()
    if others >= settings.CRUCIBLE_MAX_SHARDS:
        raise Failure(
            "refused", f"merge shards: a dataset has at most {settings.CRUCIBLE_MAX_SHARDS}"
        )


def _is_kept(upload: Upload) -> bool:
    return (settings.DATASETS_DIR / str(upload.id)).is_dir()
