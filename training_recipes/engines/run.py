"""What every training engine is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from submissions.progress import Progress
from training_recipes.model import OpenLM
from training_recipes.packed_rows import Summary
from training_recipes.scales import Scale


@dataclass(frozen=True)
class Run:
    """One training: a recipe, its data, and a folder in which to keep the unfinished work."""

    scale: Scale
    seed: int
    tokens: Path
    summary: Summary
    work: Path
    identity: dict[str, Any]
    steps_between_states: int


@dataclass(frozen=True)
class Trained:
    """The trained model, the loss of every step, and the seconds over all attempts."""

    model: OpenLM
    losses: list[float]
    seconds: float


class Engine(Protocol):
    """Trains to the end, going on from `run.work` where an earlier attempt was interrupted.

    Raises `diverged` when the loss or the weights are no longer numbers.
    """

    def __call__(self, run: Run, progress: Progress) -> Trained: ...
