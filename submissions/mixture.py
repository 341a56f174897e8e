"""Reads mixture.json, which says what shares of the training tokens come from which shards.

docs/mixtures.md describes the format. In a submitted folder the file is hostile input: its
patterns are only compared with the names of the shards found there, never given to the file system.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec

from submissions.codec import read
from submissions.failures import Failure
from submissions.shard_search import named_apart, shards_at, shards_below
from submissions.shards import Shard, is_companion, is_s3

MIXTURE = "mixture.json"
MAX_BYTES = 2**20
MAX_SOURCES = 1_000
MAX_PATTERN = 1_000  # characters
# Bounds what a hostile file can cost: each is compared with every shard of the folder.
MAX_GLOBS = 1_000
SUM_TOLERANCE = 1e-6
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._+-]{0,79}")
WILDCARDS = re.compile(r"[*?[]")

Parts = tuple[str, ...]  # of a path, between its slashes


class MixtureSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `sources` in the file."""

    name: str
    weight: Annotated[float, msgspec.Meta(gt=0, le=1)]
    shards: Annotated[list[str], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(
                "the name must have 1 to 80 letters, digits, spaces or . _ + - "
                "and begin with a letter, a digit or _"
            )
        for pattern in self.shards:
            if not 0 < len(pattern) <= MAX_PATTERN or not pattern.isprintable():
                raise ValueError(
                    f'each of "shards" must be a file name or pattern of 1 to {MAX_PATTERN:,} '
                    "printable characters"
                )


class MixtureFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What mixture.json holds."""

    sources: Annotated[list[MixtureSource], msgspec.Meta(min_length=1, max_length=MAX_SOURCES)]


@dataclass(frozen=True)
class Mixed:
    """One source: its share of the training tokens, and its shards once they are known."""

    name: str
    weight: float
    patterns: tuple[str, ...]
    shards: tuple[Shard, ...] = ()


def mixture_of_folder(folder: Path) -> list[Mixed]:
    """The sources of the mixture at a folder's root, whose shards all lie in the folder.

    Raises `mixture_invalid`, also for a shard that no source claims, and what `find_shards` raises.
    """
    path = folder / MIXTURE
    return mixture_of_shards(path, lambda: named_apart(shards_below(folder, left_out=path)))


def mixture_of_shards(
    path: Path, shards: Sequence[Shard] | Callable[[], Sequence[Shard]]
) -> list[Mixed]:
    """The sources of the mixture in that file over these shards, by their names.

    Raises `mixture_invalid`, also for a shard that no source claims.
    """
    if path.is_symlink() or not path.is_file():
        raise Failure("mixture_invalid", f"{MIXTURE} is no regular file")
    sources = _read(path)
    globs = 0
    for source in sources:
        for pattern in source.patterns:
            if is_s3(pattern) or pattern.startswith("/") or ".." in pattern.split("/"):
                raise _invalid(source, f'"{pattern}" leads out of the folder')
            globs += bool(WILDCARDS.search(pattern))
    if globs > MAX_GLOBS:
        said = f"the mixture has {globs:,} patterns with wildcards, and {MAX_GLOBS:,} are allowed"
        raise Failure("mixture_invalid", said)
    found = shards() if callable(shards) else shards
    sources = _with_shards(sources, functools.partial(_matching, _by_place(found)))
    claimed = {shard.name for source in sources for shard in source.shards}
    for shard in found:
        if shard.name not in claimed:
            raise Failure("mixture_invalid", "no source claims this shard", shard=shard.name)
    return sources


def mixture_of_file(path: Path) -> list[Mixed]:
    """The sources of a mixture that the user names: shards anywhere, also absolute and in S3.

    Relative patterns start at the file's folder. Raises `mixture_invalid` and what `find_shards`
    raises.
    """
    if not path.is_file():
        raise Failure("dataset_missing", f"there is no file {path}")
    sources = _with_shards(_read(path), functools.partial(_anywhere, path))
    # Over all sources together, so that a name means one shard in the whole dataset.
    apart = {s.identity: s for s in named_apart(s for source in sources for s in source.shards)}
    return [
        replace(source, shards=tuple(apart[shard.identity] for shard in source.shards))
        for source in sources
    ]


def _read(path: Path) -> list[Mixed]:
    """The sources without their shards; checks everything that the file alone can tell."""
    document = read(MixtureFile, path, code="mixture_invalid", where=MIXTURE, limit=MAX_BYTES)
    sources = [Mixed(one.name, one.weight, tuple(one.shards)) for one in document.sources]
    if len(names := {source.name for source in sources}) < len(sources):
        double = next(n for n in sorted(names) if sum(s.name == n for s in sources) > 1)
        raise Failure("mixture_invalid", f'two sources are called "{double}"')
    total = math.fsum(source.weight for source in sources)
    if abs(total - 1) > SUM_TOLERANCE:
        raise Failure("mixture_invalid", f"the weights sum to {total:.9g}, not to 1")
    return sources


def _with_shards(
    sources: Sequence[Mixed], shards_of: Callable[[str], Iterable[Shard]]
) -> list[Mixed]:
    """The sources with what their patterns match, no shard in two of them."""
    owner: dict[str, Mixed] = {}
    result = []
    for source in sources:
        own: dict[str, Shard] = {}
        for pattern in source.patterns:
            matched = {shard.identity: shard for shard in shards_of(pattern)}
            if not matched:
                said = f'"{pattern}" matches no shard: the mixture names an absent source'
                raise _invalid(source, said)
            own |= matched
        for identity, shard in own.items():
            if (other := owner.setdefault(identity, source)) is not source:
                said = f'the sources "{other.name}" and "{source.name}" both claim this shard'
                raise Failure("mixture_invalid", said, shard=shard.name)
        in_order = sorted(own.values(), key=lambda shard: shard.name)
        result.append(replace(source, shards=tuple(in_order)))
    return result


def _by_place(shards: Iterable[Shard]) -> dict[Parts, list[Shard]]:
    """The shards of a folder by their own path, and by each folder in their path."""
    places: dict[Parts, list[Shard]] = {}
    for shard in shards:
        parts = tuple(shard.name.split("/"))
        for end in range(len(parts) + 1):
            places.setdefault(parts[:end], []).append(shard)
    return places


def _matching(places: Mapping[Parts, list[Shard]], pattern: str) -> Iterable[Shard]:
    """The shards whose path, or a folder in their path, matches a relative pattern."""
    parts = tuple(part for part in pattern.split("/") if part not in ("", "."))
    if parts in places or not WILDCARDS.search(pattern):
        return places.get(parts, [])
    found: dict[str, Shard] = {}
    for place, shards in places.items():
        if _parts_match(place, parts):
            found |= {shard.name: shard for shard in shards}
    return found.values()


def _parts_match(names: Parts, patterns: Parts) -> bool:
    """Whether folder by folder each name matches; `**` stands for any number of folders."""
    fixed = sum(pattern != "**" for pattern in patterns)
    if fixed > len(names) or (fixed < len(names) and "**" not in patterns):
        return False
    reached = {0}  # how many names the patterns so far may have used up
    for pattern in patterns:
        if pattern == "**":
            reached = set(range(min(reached), len(names) + 1))
        else:
            reached = {
                number + 1
                for number in reached
                if number < len(names) and fnmatch.fnmatchcase(names[number], pattern)
            }
        if not reached:
            return False
    return len(names) in reached


def _anywhere(mixture: Path, pattern: str) -> Iterable[Shard]:
    """The shards at a path, a pattern or an S3 URI of the user's own."""
    if is_s3(pattern):
        return shards_at(pattern)
    folder = mixture.parent
    if (folder / pattern).exists():
        return _at_place(folder / pattern, mixture)
    # glob, because Path.glob takes no absolute pattern
    matches = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    return [shard for match in sorted(matches) for shard in _at_place(folder / match, mixture)]


def _at_place(path: Path, mixture: Path) -> list[Shard]:
    """The shards of a file or folder, named as when the mixture's own folder is submitted."""
    folder = mixture.parent
    if path.is_file() and (is_companion(path.name) or path == mixture):
        return []
    shards = list(shards_below(path, left_out=mixture)) if path.is_dir() else shards_at(path)
    return [
        replace(shard, name=Path(shard.address).relative_to(folder).as_posix())
        if Path(shard.address).is_relative_to(folder)
        else shard
        for shard in shards
    ]


def _invalid(source: Mixed, said: str) -> Failure:
    return Failure("mixture_invalid", f'the source "{source.name}": {said}')
