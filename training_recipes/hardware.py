"""How a run uses the machine: the knobs that leave the mathematics alone, and the processes.

Everything else of a training is the recipe's. Only data and arithmetic: `crucible recipe show`
imports this without torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from submissions.failures import Failure

# The effect of each option, for `crucible recipe show`; the number of processes is torchrun's.
CHOICES = {
    "micro_batch": "rows of one forward pass; gradients are accumulated up to the global batch",
    "compile": "compile the model with torch.compile",
    "fsdp": "shard weights and optimizer over the GPUs, for models that do not fit on one",
}

RECIPE_CHOICES = ("scale", "seed", "engine")

# Peak dense bfloat16 FLOP/s of one GPU, by what its name contains; the first match counts.
# Source: NVIDIA's data sheets of H200, H100 and A100 (tensor cores, without sparsity).
PEAK_FLOPS = {
    "H200": 989e12,
    "H100 PCIE": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,  # SXM, as DCLM used
    "A100": 312e12,
}


@dataclass(frozen=True)
class Hardware:
    """The knobs. `micro_batch` None: all that fits, on a GPU by arithmetic."""

    micro_batch: int | None = None
    compile: bool = False
    fsdp: bool = False


DEFAULT = Hardware()


@dataclass(frozen=True)
class Processes:
    """This process among those of the run, as torchrun numbers them."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def writes(self) -> bool:
        """Whether this is the one process that writes files and tells progress."""
        return self.rank == 0


def processes() -> Processes:
    """From torchrun's environment; one process where there is none."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    return Processes(*(int(os.environ.get(n, d)) for n, d in zip(names, "010", strict=True)))


def hardware_of(parameters: Mapping[str, Any]) -> Hardware:
    """The knobs among a job's parameters; `recipe_frozen` for one that cannot be chosen."""
    knobs = {field.name for field in fields(Hardware)}
    require_choices(parameters, knobs.union(RECIPE_CHOICES))
    return Hardware(**{name: parameters[name] for name in knobs & parameters.keys()})


def require_choices(parameters: Mapping[str, Any], choices: set[str]) -> None:
    """Raises `recipe_frozen` for a job's parameter that cannot be chosen."""
    for name in parameters:
        if name not in choices:
            raise Failure("recipe_frozen", f"{name} is fixed by the recipe: it cannot be chosen")


def rows_a_process(global_batch: int, world_size: int, micro_batch: int | None) -> int:
    """Rows of each global batch that one process reads; `hardware_unfit` if it cannot be split."""
    if global_batch % world_size:
        raise Failure(
            "hardware_unfit",
            f"{world_size} processes cannot share the global batch of {global_batch} rows equally",
        )
    share = global_batch // world_size
    if micro_batch is not None and (micro_batch < 1 or share % micro_batch):
        raise Failure(
            "hardware_unfit",
            f"a micro batch of {micro_batch} rows does not divide the {share} rows of a process",
        )
    return share


def peak_flops(gpu: str) -> float | None:
    """Of a GPU by the name that its driver gives; None for one that is not in the table."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in gpu.upper()), None)


def utilisation(params: int, tokens_per_second: float, gpus: int, gpu: str) -> float | None:
    """Model FLOPs utilisation: 6 × parameters × tokens/s of all GPUs' peak; None without a peak."""
    peak = peak_flops(gpu)
    return None if peak is None else 6.0 * params * tokens_per_second / (gpus * peak)
