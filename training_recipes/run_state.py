"""The state of an unfinished training on disk: enough to resume as if nothing had happened.

There is at most one file, replaced by atomic rename, so the last good state survives every
interruption.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from submissions.failures import Failure
from training_recipes.tensor_files import save_tensors

FILE = "state.pt"


@dataclass
class RunState:
    """After `step` steps: weights, optimizer, the losses so far and the seconds spent.

    `identity` says which run it is (recipe, data, seed, engine): no other may resume from it.
    """

    identity: dict[str, str | int]
    step: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    losses: list[float]
    seconds: float


def save_state(folder: Path, state: RunState) -> None:
    """Replaces the old state; `disk_full` leaves the old one."""
    save_tensors(folder / FILE, vars(state))


def load_state(folder: Path, identity: dict[str, str | int]) -> RunState | None:
    """The state in `folder`, or None; `output_exists` when it belongs to another run."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state = RunState(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # damaged bytes can raise any error in torch.load
        raise Failure("artifact_corrupt", f"cannot resume from {path}: {error}") from None
    different = [key for key in identity if state.identity.get(key) != identity[key]]
    if different:
        raise Failure(
            "output_exists",
            f"{folder} holds an unfinished run that differs in {', '.join(different)}",
        )
    return state
