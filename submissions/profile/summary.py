"""Makes the figures of a profile, and its sample, from what both passes found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from submissions.dataset import Dataset
from submissions.profile.counting import Counted
from submissions.profile.distinct import DistinctCount
from submissions.profile.embeddings import Vectors
from submissions.profile.estimates import Drawn
from submissions.profile.kept import Sample, SampleText, hex_of, points_of
from submissions.profile.looking import Row
from submissions.profile.near import Signatures, copies_among
from submissions.profile.overlap import ratio_by_group
from submissions.profile.personal import KINDS
from submissions.profile.results import (
    Duplicates,
    Novelty,
    Personal,
    Profile,
    SourceProfile,
    Topic,
)
from submissions.profile.rules import RULES
from submissions.profile.sketches import Hashes
from submissions.profile.topics import Clusters, find_topics, topic_name

DOMAINS = 50  # that are listed
POINTS = 2_000  # of the map


@dataclass(frozen=True)
class Counts:
    """The first pass: each shard's counts by its name, and what is distinct over all of them."""

    dataset: Dataset
    shards: dict[str, Counted]
    counted: bool
    texts: DistinctCount
    lines: DistinctCount
    paragraphs: DistinctCount


@dataclass(frozen=True)
class Seen:
    """The second pass: rows by ascending hash with vectors [n, 256] and copies [n].

    `distinct` is the number of distinct texts. Near copies are looked for among `signatures`, drawn
    by `near_keys`; `near_full` says that those are not all texts.
    """

    rows: list[Row]
    vectors: Vectors
    copies: NDArray[np.int64]
    distinct: float
    signatures: Signatures
    near_keys: Hashes
    near_full: bool


def profile_of(counts: Counts, seen: Seen) -> tuple[Profile, Clusters]:
    """The figures, and the topics of the rows."""
    rows, shards = seen.rows, list(counts.shards.values())
    drawn = Drawn(seen.copies.astype(np.float64), min(1.0, len(rows) / max(seen.distinct, 1.0)))
    clusters = find_topics(seen.vectors, [row.terms for row in rows], seen.copies)
    profile = Profile(
        documents=sum(one.documents for one in shards),
        sampled=int(seen.copies.sum()),
        texts=len(rows),
        bytes=sum(one.bytes for one in shards),
        empty=sum(one.empty for one in shards),
        longest=max(one.longest for one in shards),
        languages=drawn.shares([row.language for row in rows]),
        scripts=drawn.shares([row.script for row in rows]),
        duplicates=_duplicates(counts, seen),
        lengths={
            "characters": drawn.mean([row.characters for row in rows], powers=True),
            "words": drawn.mean([row.words for row in rows], powers=True),
            "lines": drawn.mean([row.lines for row in rows], powers=True),
        },
        topics=_topics(clusters, drawn),
        map_variance=round(clusters.kept, 4),
        sources=_sources(counts, seen),
        compression=drawn.mean([row.compression for row in rows]),
        repetition={
            "lines": drawn.mean([row.repeated_lines for row in rows]),
            "runs": drawn.mean([row.repeated_runs for row in rows]),
        },
        boilerplate=drawn.mean([row.furniture for row in rows]),
        code=drawn.share([row.code for row in rows]),
        personal={kind: _personal(kind, seen, drawn) for kind in KINDS},
        domains=drawn.largest([row.host for row in rows], DOMAINS),
        novelty=_novelty(rows),
        quality=drawn.mean([row.quality for row in rows]),
        rules={name: drawn.share([name in row.broken for row in rows]) for name in RULES},
    )
    return profile, clusters


def _duplicates(counts: Counts, seen: Seen) -> Duplicates:
    copies = copies_among(seen.signatures).astype(np.float64)
    share, error = ratio_by_group(copies, seen.near_keys, known=not seen.near_full)
    near = int(copies.sum()) if not seen.near_full else round(share * seen.distinct)
    return Duplicates(
        exact=counts.texts.surplus,
        near=near,
        lines=counts.lines.surplus,
        paragraphs=counts.paragraphs.surplus,
        counted=counts.counted,
        exact_error=round(counts.texts.error, 1),
        near_error=round(error * seen.distinct, 1),
        lines_error=round(counts.lines.error, 1),
        paragraphs_error=round(counts.paragraphs.error, 1),
        exact_characters=counts.texts.surplus_characters,
        lines_characters=counts.lines.surplus_characters,
        paragraphs_characters=counts.paragraphs.surplus_characters,
        total_lines=counts.lines.total,
        total_paragraphs=counts.paragraphs.total,
    )


def _topics(clusters: Clusters, drawn: Drawn) -> list[Topic]:
    topics = []
    for number, words in enumerate(clusters.words):
        own = clusters.topic_of == number
        share = drawn.share(own.tolist())
        x, y = clusters.centres[number].tolist()
        topic = Topic(
            name=topic_name(words, number), words=words, share=share.share, error=share.error,
            texts=int(own.sum()), x=round(x, 4), y=round(y, 4),
        )  # fmt: skip
        topics.append(topic)
    return topics


def _sources(counts: Counts, seen: Seen) -> list[SourceProfile]:
    """Documents and bytes as counted; tokens from the texts of the source that were looked at."""
    sources = []
    for source in counts.dataset.sources:
        own = [counts.shards[shard.name] for shard in source.shards]
        documents, size = sum(one.documents for one in own), sum(one.bytes for one in own)
        rows = [row for row in seen.rows if row.source == source.name and row.tokens is not None]
        tokens, error = _tokens(rows, size, documents)
        sources.append(
            SourceProfile(
                name=source.name, weight=source.weight, documents=documents, bytes=size,
                tokens=tokens, tokens_error=error,
            )
        )  # fmt: skip
    return sources


def _tokens(rows: Sequence[Row], size: int, documents: int) -> tuple[int | None, int | None]:
    """A ratio estimate of tokens by bytes, with an end-of-text id for each document.

    Of the ratio's error (Cochran, 6.4); the share of the source that was read is not subtracted,
    because a long text is cut, so that the error is rather too large.
    """
    if not rows:
        return None, None
    sizes = np.array([row.tokenised_bytes for row in rows], dtype=np.float64)
    tokens = np.array([row.tokens for row in rows], dtype=np.float64)
    share = float(tokens.sum()) / max(float(sizes.sum()), 1.0)
    spread = float(((tokens - share * sizes) ** 2).sum())
    error = math.sqrt(spread) / max(float(sizes.sum()), 1.0) * size
    return round(share * size) + documents, math.ceil(error)


def _personal(kind: str, seen: Seen, drawn: Drawn) -> Personal:
    found = [row.personal[kind] for row in seen.rows]
    share = drawn.share([number > 0 for number in found])
    matches = int((np.array(found, dtype=np.int64) * seen.copies).sum())
    return Personal(share=share.share, error=share.error, matches=matches)


def _novelty(rows: Sequence[Row]) -> Novelty:
    grams = np.concatenate([np.empty(0, np.uint64), *(row.grams for row in rows)])
    distinct = len(np.unique(grams)) / len(grams) if len(grams) else 1.0
    return Novelty(runs=sum(row.grams_total for row in rows), distinct=round(distinct, 6))


def sample_of(seen: Seen, clusters: Clusters, most: int) -> Sample:
    """The texts with the smallest hashes, to be read, and the points of the map."""
    topics = clusters.topic_of.tolist()
    texts = [
        SampleText(
            hash=hex_of(row.hash), shard=row.shard, line=row.line, host=row.host,
            characters=row.characters, copies=int(copies), language=row.language,
            script=row.script, topic=topic, quality=round(row.quality, 4), broken=row.broken,
            personal=any(row.personal.values()), text=row.text,
        )
        for row, copies, topic in list(zip(seen.rows, seen.copies.tolist(), topics, strict=True))[
            :most
        ]
    ]  # fmt: skip
    return Sample(texts=texts, points=points_of(clusters.places, topics, POINTS))
