"""The figures of DCLM's published runs that come with Crucible: published.json.

Numbers with the uuid of the evaluation each was computed from, and nothing else of that repository.
`python -m evaluation.transfer.build_published CHECKOUT` writes the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from evaluation.transfer.runs import Recipe, Run, family_of

FILE = Path(__file__).parent / "published.json"


@dataclass(frozen=True)
class Repeats:
    """CORE (v2, a share) of runs of one dataset and recipe that differ in their seed."""

    scale: str
    dataset: str
    cores: tuple[float, ...]


@dataclass(frozen=True)
class Published:
    """All figures, with the commit of the repository that they come from."""

    commit: str
    runs: tuple[Run, ...]
    repeats: tuple[Repeats, ...]


@cache
def read_published(path: Path = FILE) -> Published:
    """The figures that come with Crucible."""
    document = json.loads(path.read_text())
    runs = tuple(
        Run(
            row["eval"],
            row["dataset"],
            family_of(row["dataset"]),
            row["scale"],
            Recipe(row["lr"], row["weight_decay"]),
            row["seed"],
            row["altered"],
            row["core"],
            row["loss"],
        )
        for row in document["runs"]
    )
    repeats = tuple(
        Repeats(row["scale"], row["dataset"], tuple(row["cores"])) for row in document["repeats"]
    )
    return Published(document["source"]["commit"], runs, repeats)


def published_run(evaluation: str) -> Run | None:
    """The published run whose evaluation has this uuid."""
    return next((run for run in read_published().runs if run.evaluation == evaluation), None)
