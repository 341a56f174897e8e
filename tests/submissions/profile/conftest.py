"""Small datasets for profiles, made from numbers, with known copies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from submissions.profile import profiling
from submissions.profile.profiling import profile_dataset
from submissions.profile.results import Profile

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path) -> Write:
    """Writes shards: each argument is a list of texts or of whole documents."""

    def make(*shards: Sequence[str | dict[str, Any]], name: str = "data") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for number, texts in enumerate(shards):
            with (folder / f"{number}.jsonl").open("w") as file:
                for text in texts:
                    document = text if isinstance(text, dict) else {"text": text}
                    file.write(json.dumps(document) + "\n")
        return folder

    return make


@pytest.fixture
def profiled(tmp_path) -> Callable[..., Profile]:
    """Profiles a folder, into a new one unless it is given."""
    made = iter(range(100))

    def run(data: Path, output: Path | None = None, **options: Any) -> Profile:
        return profile_dataset([data], output or tmp_path / f"out{next(made)}", **options)

    return run


@pytest.fixture
def few(monkeypatch) -> None:
    """Bounds so small that everything is estimated."""
    monkeypatch.setattr(profiling, "EXACT", 10)
    monkeypatch.setattr(profiling, "LOOKED_AT", 400)


def prose(number: int, words: int = 60) -> str:
    """A text of its own, of made-up words, on one of three subjects."""
    subjects = (
        "river water boat fish harbour sail wave coast",
        "engine wheel gear brake piston valve torque clutch",
        "bread flour oven yeast dough butter recipe kitchen",
    )
    own = subjects[number % 3].split()
    found = [own[(number + at) // 2 % 8] if at % 2 else f"n{number}x{at}" for at in range(words)]
    return " ".join(found)
