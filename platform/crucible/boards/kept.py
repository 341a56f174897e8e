"""The one cache of the site: what boards show, made once for all processes.

Each cached value has a name and a version; a value of another version is made anew. `prepare`
empties the cache, so that no release reads values of another one.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from django.core.cache import caches

from crucible.leaderboard.revisions import revision_of
from crucible.leaderboard.suites import board_suite
from training_recipes.scales import load_scale

LIFETIME = 24 * 3600  # seconds, after which an unused value is dropped
# For this many seconds after a change, requests get the old value, while the process that changed
# the board makes the new one. After that, a request makes a missing value.
GRACE = 2.0
T = TypeVar("T")


class Version(NamedTuple):
    """What a value is made from, and for how many seconds that has not changed."""

    text: str
    age: float = float("inf")


UNCHANGING = Version("")  # of values whose name contains the hash of their input


def board_version(track: str, scale: str) -> Version:
    """A version that differs after every change of the board, its recipe or its suite."""
    number, age = revision_of(track, scale)
    made_by = load_scale(scale).recipe_sha256, board_suite(scale).hash
    return Version(" ".join([str(number), *made_by]), age)


def kept(name: str, version: Version, make: Callable[[], T]) -> T:
    """The cached value of this name and version; `make` makes it if there is none.

    Read `version` before `make` reads its data. A change in between then shows at the next request.
    """
    found: tuple[str, bytes] | None = caches["boards"].get(name)
    if found is not None and (found[0] == version.text or version.age < GRACE):
        return _unpacked(found[1])
    return _keep(name, version, make())


def kept_each(makers: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """The same for many values that never change, with one query to the cache."""
    found: dict[str, tuple[str, bytes]] = caches["boards"].get_many(makers)
    return {
        name: _unpacked(found[name][1]) if name in found else _keep(name, UNCHANGING, make())
        for name, make in makers.items()
    }


def _keep(name: str, version: Version, value: T) -> T:
    packed = zlib.compress(pickle.dumps(value), level=1)
    caches["boards"].set(name, (version.text, packed), LIFETIME)
    return value


def _unpacked(packed: bytes) -> Any:
    # Only this site writes the table. A writer of this table could write every other table too.
    return pickle.loads(zlib.decompress(packed))  # noqa: S301
