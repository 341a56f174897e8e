"""A small profile with its files, as the stage `profile` would make it: for tests of the site."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from submissions.near_duplicates import signature
from submissions.profile.kept import (
    SAMPLE,
    SKETCH,
    MapPoint,
    Sample,
    SampleText,
    Sketches,
    hex_of,
    write_profile,
)
from submissions.profile.results import (
    Duplicates,
    Mean,
    Named,
    Novelty,
    Overlap,
    Personal,
    Profile,
    Share,
    SourceProfile,
    Topic,
)

HOSTILE = '<script>alert("x")</script> \u202eevil\u202c \x00 \x1b[31m javascript:alert(1)'
MEAN = Mean(mean=2.0, error=0.0, p5=1.0, median=2.0, p95=4.0,
            histogram=[(0.0, 0), (1.0, 2), (2.0, 3)])  # fmt: skip
FEW = Share(share=0.25, error=0.01)


def example_profile(topic: str = "river, boat") -> Profile:
    """Figures of five documents."""
    return Profile(
        documents=5, sampled=5, texts=4, bytes=1_234, empty=0, longest=400,
        languages={"en": Share(share=0.75, error=0.02), "de": FEW},
        scripts={"Latin": Share(share=1.0, error=0.0)},
        duplicates=Duplicates(
            exact=1, near=1, lines=3, paragraphs=2, counted=True, exact_error=0.0, near_error=0.0,
            lines_error=0.0, paragraphs_error=0.0, exact_characters=10, lines_characters=20,
            paragraphs_characters=30, total_lines=12, total_paragraphs=8,
        ),
        lengths={"characters": MEAN, "words": MEAN, "lines": MEAN},
        topics=[
            Topic(name=topic, words=topic.split(", "), share=0.75, error=0.02, texts=3, x=0.2,
                  y=0.3),
            Topic(name="<b>bread</b>", words=["<b>bread</b>"], share=0.25, error=0.02, texts=1,
                  x=0.9, y=0.8),
        ],
        map_variance=0.3,
        sources=[SourceProfile(name="", weight=None, documents=5, bytes=1_234, tokens=300,
                               tokens_error=9)],
        compression=MEAN, repetition={"lines": MEAN, "runs": MEAN}, boilerplate=MEAN, code=FEW,
        personal={"mail": Personal(share=0.2, error=0.0, matches=3)},
        domains=[Named(name="example.org", share=0.4, error=0.0)],
        novelty=Novelty(runs=40, distinct=0.9), quality=MEAN, rules={"words": FEW},
        against=[Overlap(name="the pool", exact=0.5, exact_error=0.1, near=0.6, near_error=0.1,
                         jaccard=0.3, jaccard_error=0.1, runs=0.4)],
        versions={"numpy": "2.1.3"},
    )  # fmt: skip


def example_text(number: int, **fields: object) -> SampleText:
    """One text of a sample, number n, with other fields where they are given."""
    values = {
        "hash": hex_of(number), "shard": "a.jsonl", "line": number, "host": "example.org",
        "characters": 100 * number, "copies": 1, "language": "en", "script": "Latin", "topic": 0,
        "quality": 1.0, "broken": [], "personal": False, "text": f"A river runs, number {number}.",
    }  # fmt: skip
    return SampleText(**(values | fields))


def write_example(folder: Path, numbers: range = range(1, 5), topic: str = "river, boat") -> None:
    """Writes the three files; a text is known by its number, so that two examples overlap."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [example_text(number) for number in numbers]
    texts[-1] = example_text(
        numbers[-1], text=HOSTILE, language="de", topic=1, quality=0.5, broken=["words"],
        personal=True, shard="<i>b.jsonl",
    )  # fmt: skip
    hashes = np.array(list(numbers), dtype=np.uint64)
    own = np.array([signature(f"word {number} " * 20) for number in numbers], dtype=np.uint32)
    sketches = Sketches("crucible profile 1", hashes, False, hashes, hashes, own, False, hashes,
                        np.eye(len(numbers), 256, dtype=np.float32),
                        np.eye(2, 256, dtype=np.float32))  # fmt: skip
    points = [MapPoint(x=0.2, y=0.3, topic=0), MapPoint(x=0.9, y=0.8, topic=1)]
    write_profile(folder, example_profile(topic), sketches, Sample(texts=texts, points=points))


FILES = {"sample": SAMPLE, "sketch": SKETCH}
