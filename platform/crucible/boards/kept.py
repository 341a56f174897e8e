"""What is shown of boards, made once for all processes and kept until its board changes.

This is the one cache of the site. What is kept has a name and a version; another version means that
it is made anew. `prepare` empties the cache, so that no release reads what another one kept.
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

KEPT = 24 * 3600  # seconds; what nobody asks for any more is forgotten
# Seconds for which a board may look as it did before a change while the process that changed it
# makes it anew. Whoever looks later makes it for himself.
GRACE = 2.0
T = TypeVar("T")


class Version(NamedTuple):
    """What something was made from, and for how many seconds that has been so."""

    text: str
    age: float = float("inf")


UNCHANGING = Version("")  # of what is named by the hash of what it was made from


def board_version(track: str, scale: str) -> Version:
    """Another one after every change of the board, of its recipe or of its suite."""
    number, age = revision_of(track, scale)
    made_by = load_scale(scale).recipe_sha256, board_suite(scale).hash
    return Version(" ".join([str(number), *made_by]), age)


def kept(name: str, version: Version, make: Callable[[], T]) -> T:
    """What is kept under this name and version, made by `make` where another or none is there.

    `version` must be older than what `make` reads: whoever asks next then sees a change in between.
    """
    found: tuple[str, bytes] | None = caches["boards"].get(name)
    if found is not None and (found[0] == version.text or version.age < GRACE):
        return _unpacked(found[1])
    return _keep(name, version, make())


def kept_each(makers: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """The same for many names of what never changes, with one look at the cache."""
    found: dict[str, tuple[str, bytes]] = caches["boards"].get_many(makers)
    return {
        name: _unpacked(found[name][1]) if name in found else _keep(name, UNCHANGING, make())
        for name, make in makers.items()
    }


def _keep(name: str, version: Version, value: T) -> T:
    packed = zlib.compress(pickle.dumps(value), level=1)
    caches["boards"].set(name, (version.text, packed), KEPT)
    return value


def _unpacked(packed: bytes) -> Any:
    # Only this site writes the table: whoever can write it can write every other one too.
    return pickle.loads(zlib.decompress(packed))  # noqa: S301
