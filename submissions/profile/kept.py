"""The files of a profile: its figures, its sketch for comparisons, and its sample of texts.

Others may have written them, so they are read with bounds and without objects.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from submissions.codec import read
from submissions.failures import Failure
from submissions.files import placed_atomically
from submissions.job import write_json_atomically
from submissions.profile.embeddings import Vectors
from submissions.profile.near import Signatures
from submissions.profile.results import Profile
from submissions.profile.sketches import Hashes

PROFILE, SKETCH, SAMPLE = "profile.json", "sketch.npz", "sample.json"
AGAINST = "against "  # before the name of another dataset, in the names of the stage's inputs
MAX_SKETCH, MAX_SAMPLE = 128 * 2**20, 32 * 2**20  # bytes


class SampleText(msgspec.Struct, frozen=True, kw_only=True):
    """One text of the sample, cut, with what the viewer filters by."""

    hash: str
    shard: str
    line: int
    host: str
    characters: int
    copies: int
    language: str
    script: str
    topic: int
    quality: float
    broken: list[str]
    personal: bool
    text: str


class MapPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A text on the map, in 0..1."""

    x: float
    y: float
    topic: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The texts that can be read, and the points of the map."""

    texts: list[SampleText]
    points: list[MapPoint]


@dataclass(frozen=True)
class Sketches:
    """What two profiles are compared by.

    `hashes` are the smallest of the distinct texts, all of them unless `full`. Near copies were
    looked for among `near_hashes` with `signatures` [m, 112], drawn by `near_keys`. `grams` are
    hashes of runs of words of the texts looked at, ascending. `vectors` [v, 256] of the first of
    these texts and `centres` [t, 256] of the topics tell how topics shift. `salt` tells whether two
    profiles can be compared at all.
    """

    salt: str
    hashes: Hashes
    full: bool
    near_keys: Hashes
    near_hashes: Hashes
    signatures: Signatures
    near_full: bool
    grams: Hashes
    vectors: Vectors
    centres: Vectors


def write_profile(folder: Path, profile: Profile, sketches: Sketches, sample: Sample) -> None:
    """Writes the three files; `profile.json` last, so that a folder which has it has all."""
    with placed_atomically(folder / SKETCH) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file, salt=np.frombuffer(sketches.salt.encode(), dtype=np.uint8),
            hashes=sketches.hashes, near_keys=sketches.near_keys, near_hashes=sketches.near_hashes,
            signatures=sketches.signatures, grams=sketches.grams,
            vectors=sketches.vectors.astype(np.float16), centres=sketches.centres,
            full=np.array([sketches.full, sketches.near_full]),
        )  # fmt: skip
    write_json_atomically(folder / SAMPLE, sample)
    write_json_atomically(folder / PROFILE, profile)


def read_profile(folder: Path) -> Profile:
    """Raises `artifact_corrupt` for a folder without a profile."""
    return read(Profile, folder / PROFILE, code="artifact_corrupt", where=str(folder / PROFILE))


def read_sample(path: Path) -> Sample:
    """The sample of a profile; raises `artifact_corrupt`."""
    return read(Sample, path, code="artifact_corrupt", where=path.name, limit=MAX_SAMPLE)


def read_sketches(path: Path) -> Sketches:
    """The sketches of a profile; raises `profile_invalid` for a file that is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_SKETCH:
            raise ValueError(f"it unpacks to {size:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            full, near_full = arrays["full"].astype(bool).tolist()
            return Sketches(
                bytes(arrays["salt"].astype(np.uint8)).decode(), _ids(arrays["hashes"]), full,
                _ids(arrays["near_keys"]), _ids(arrays["near_hashes"]),
                arrays["signatures"].astype(np.uint32), near_full, _ids(arrays["grams"]),
                _vectors(arrays["vectors"]), _vectors(arrays["centres"]),
            )  # fmt: skip
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise Failure("profile_invalid", f"{path} is no sketch of a profile: {reason}") from None


def _ids(values: NDArray[np.uint64]) -> Hashes:
    if values.ndim != 1:
        raise ValueError("an array has a wrong shape")
    return values.astype(np.uint64)


def _vectors(values: NDArray[np.float32]) -> Vectors:
    if values.ndim != 2:
        raise ValueError("an array has a wrong shape")
    return values.astype(np.float32)


def hex_of(value: int) -> str:
    """A hash as it is written."""
    return f"{value:016x}"


def points_of(places: NDArray[np.float64], topics: Sequence[int], most: int) -> list[MapPoint]:
    """The first `most` texts as points."""
    return [
        MapPoint(x=round(x, 4), y=round(y, 4), topic=topic)
        for (x, y), topic in zip(places[:most].tolist(), topics[:most], strict=True)
    ]
