"""Halves what does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from evaluation.native.generation import Prompt
from submissions.failures import Failure
from training_recipes.scales import ModelShape

SLOTS = {"cpu": 64, "cuda": 256}  # texts that are written at a time
CPU_BYTES = 2_000_000_000  # for keys and values; of a GPU's free memory half may go to them

T = TypeVar("T")
R = TypeVar("R")


def exhausted(error: BaseException) -> bool:
    """Whether an error says that there is no memory left."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def fitting(
    compute: Callable[[list[T]], list[R]], pieces: list[T], too_much: Callable[[list[T]], None]
) -> list[R]:
    """`compute` of all pieces, in halves and halves of halves where they do not fit together.

    `too_much` hears what did not fit, so that later pieces are fewer from the start. Raises
    `out_of_memory` when a single piece does not fit.
    """
    try:
        return compute(pieces)
    except Exception as error:
        if not exhausted(error):
            raise
        if len(pieces) == 1:
            raise Failure("out_of_memory", "one question alone does not fit in memory") from None
    # Outside the handler: the error's frames would keep what does not fit.
    too_much(pieces)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(pieces) // 2
    first, second = pieces[:middle], pieces[middle:]
    return fitting(compute, first, too_much) + fitting(compute, second, too_much)


def slots_that_fit(
    shape: ModelShape, device: torch.device, size: int, prompts: Sequence[Prompt]
) -> int:
    """How many texts may be written at a time; every slot has room for the longest.

    `size` is in bytes, of one number of a key or a value.
    """
    room = max((prompt.room for prompt in prompts), default=1)
    each = 2 * shape.layers * shape.dim * size * room
    gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] // 2 if gpu else CPU_BYTES
    return max(1, min(SLOTS[device.type], free // each))
