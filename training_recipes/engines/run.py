"""What every training engine is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from submissions.progress import Progress
from training_recipes.hardware import Hardware, Processes, utilisation
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
    identity: dict[str, str | int]
    steps_between_states: int
    hardware: Hardware
    processes: Processes

    def speed(self, steps_per_second: float, gpu: str) -> dict[str, float]:
        """Tokens a second over all processes and, on a GPU with a known peak, the utilisation."""
        optimizer, model = self.scale.optimizer, self.scale.model
        tokens = steps_per_second * optimizer.global_batch * model.seq_len
        mfu = utilisation(model.params, tokens, self.processes.world_size, gpu)
        figures = {"tokens_per_second": round(tokens, 1)}
        return figures if mfu is None else figures | {"mfu": round(mfu, 4)}


@dataclass(frozen=True)
class Trained:
    """The trained model, the loss of every step, and the seconds over all attempts.

    `gpu` is the name of each of the GPUs, empty on a CPU. Only on the process that writes is the
    model whole.
    """

    model: OpenLM
    losses: list[float]
    seconds: float
    gpu: str


class Engine(Protocol):
    """Trains to the end, going on from `run.work` where an earlier attempt was interrupted.

    Every process of the run calls it; the one of rank 0 writes files and tells progress. Raises
    `diverged` when the loss or the weights are no longer numbers.
    """

    def __call__(self, run: Run, progress: Progress) -> Trained: ...
