"""The texts of a sample that a visitor asks for, and what two samples differ in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from submissions.profile.kept import Sample, SampleText, Sketches, hex_of
from submissions.profile.overlap import only_in_first, overlap_of
from submissions.profile.results import Overlap, Profile, Share
from submissions.profile.topics import nearest

A_PAGE = 20  # texts
EXAMPLES = 10  # texts that only one of two datasets holds
LONGEST_QUERY = 200  # characters
LENGTHS = {"short": (0, 1_000), "middle": (1_000, 10_000), "long": (10_000, 10**12)}
QUALITIES = {"all rules": (1.0, 1.0), "some broken": (0.0, 0.999)}


@dataclass(frozen=True)
class Wanted:
    """What a visitor filters by; empty: everything."""

    query: str = ""
    language: str = ""
    topic: int | None = None
    length: str = ""
    quality: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """From the parameters of an address; what makes no sense is left out."""
        page, topic = query.get("page", ""), query.get("topic", "")
        return cls(
            query=query.get("q", "").strip()[:LONGEST_QUERY],
            language=query.get("language", "")[:20],
            topic=int(topic) if _is_number(topic) else None,
            length=query.get("length", "") if query.get("length") in LENGTHS else "",
            quality=query.get("quality", "") if query.get("quality") in QUALITIES else "",
            page=max(1, int(page)) if _is_number(page) else 1,
        )

    def fits(self, text: SampleText) -> bool:
        """Whether a text is among those asked for."""
        low, high = LENGTHS.get(self.length, (0, 10**12))
        worst, best = QUALITIES.get(self.quality, (0.0, 1.0))
        return (
            (not self.query or self.query.casefold() in text.text.casefold())
            and (not self.language or text.language == self.language)
            and (self.topic is None or text.topic == self.topic)
            and low <= text.characters < high
            and worst <= text.quality <= best
        )


@dataclass(frozen=True)
class TextPage:
    """Some of the texts that were asked for."""

    texts: list[SampleText]
    found: int
    page: int
    pages: int


def texts_page(sample: Sample, wanted: Wanted) -> TextPage:
    """The page of the texts that fit; the last one where there are fewer."""
    fitting = [text for text in sample.texts if wanted.fits(text)]
    pages = max(1, -(-len(fitting) // A_PAGE))
    page = min(wanted.page, pages)
    return TextPage(fitting[(page - 1) * A_PAGE :][:A_PAGE], len(fitting), page, pages)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7


@dataclass(frozen=True)
class Shift:
    """A share in either dataset, with the standard error of the difference."""

    name: str
    one: float
    other: float
    error: float

    @property
    def change(self) -> float:
        return self.other - self.one


@dataclass(frozen=True)
class DataComparison:
    """Two datasets: what each shares with the other, figures side by side, texts of one alone."""

    one: Overlap
    other: Overlap
    figures: list[tuple[str, float, float]]
    languages: list[Shift]
    topics: list[Shift]
    removed_share: float
    removed: list[SampleText]
    added: list[SampleText]


def compare_data(
    profiles: tuple[Profile, Profile],
    sketches: tuple[Sketches, Sketches],
    samples: tuple[Sample | None, Sample | None],
) -> DataComparison:
    """The comparison; texts are shown of the samples that the visitor may read.

    Raises `profile_invalid` for profiles whose hashes differ in kind.
    """
    one, other = profiles
    first, second = sketches
    overlap = overlap_of(first, second, "B")
    return DataComparison(
        one=overlap,
        other=overlap_of(second, first, "A"),
        figures=[(name, value(one), value(other)) for name, value in FIGURES.items()],
        languages=_shifts(one, other),
        topics=_topic_shifts(one, first, second),
        removed_share=1 - overlap.exact,
        removed=_alone(first, second, samples[0]),
        added=_alone(second, first, samples[1]),
    )


FIGURES: dict[str, Callable[[Profile], float]] = {
    "quality rules kept": lambda one: one.quality.mean,
    "repeated lines in a document": lambda one: one.repetition["lines"].mean,
    "repeated runs of words in a document": lambda one: one.repetition["runs"].mean,
    "lines that are furniture": lambda one: one.boilerplate.mean,
    "documents that are code": lambda one: one.code.share,
    "surplus copies of documents": lambda one: one.duplicates.exact / max(one.documents, 1),
    "surplus copies of lines": lambda one: (
        one.duplicates.lines / max(one.duplicates.total_lines, 1)
    ),
    "runs of five words that are no repetition": lambda one: one.novelty.distinct,
}


def _topic_shifts(one: Profile, first: Sketches, second: Sketches) -> list[Shift]:
    """By topic of the first, the largest changes first: the texts of both whose nearest it is."""
    shares, sizes = [], []
    for sketches in (first, second):
        topics = nearest(sketches.vectors, first.centres)
        sizes.append(max(len(topics), 1))
        shares.append(np.bincount(topics, minlength=len(one.topics)) / sizes[-1])
    shifts = [
        Shift(
            topic.name, float(p), float(q),
            float(np.sqrt(p * (1 - p) / sizes[0] + q * (1 - q) / sizes[1])),
        )
        for topic, p, q in zip(one.topics, *shares, strict=True)
    ]  # fmt: skip
    return sorted(shifts, key=lambda shift: -abs(shift.change))


def _shifts(one: Profile, other: Profile) -> list[Shift]:
    """By language, the largest changes first."""
    names = {*one.languages, *other.languages}

    none = Share(share=0.0, error=0.0)
    shifts = []
    for name in sorted(names):
        p, q = (profile.languages.get(name, none) for profile in (one, other))
        shifts.append(Shift(name, p.share, q.share, math.hypot(p.error, q.error)))
    return sorted(shifts, key=lambda shift: -abs(shift.change))[:10]


def _alone(mine: Sketches, other: Sketches, sample: Sample | None) -> list[SampleText]:
    """Texts of the sample that the other dataset surely does not hold."""
    if sample is None:
        return []
    alone = {hex_of(value) for value in only_in_first(mine, other, "the other").tolist()}
    return [text for text in sample.texts if text.hash in alone][:EXAMPLES]
