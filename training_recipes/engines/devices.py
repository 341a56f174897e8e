"""The device of a process, and the rows of one forward pass on which all processes agree."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from torch import distributed

from training_recipes.engines.run import Run
from training_recipes.training_memory import rows_that_fit

CPU_THREADS = 1  # sums are split by thread: the weights must not depend on the machine's cores
PATIENCE = 3600.0  # seconds that processes wait for the one that writes a large state


def gpu_name() -> str:
    """Of the GPU of this process; empty on a CPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def micro_batch(run: Run, share: int) -> int:
    """Rows of one forward pass: those asked for, else the whole share on a CPU, else what fits."""
    if run.hardware.micro_batch is not None:
        return run.hardware.micro_batch
    if not torch.cuda.is_available():
        return share
    torch.cuda.set_device(run.processes.local_rank)
    free = agreed(torch.cuda.mem_get_info()[0], run, torch.device("cuda"))
    return rows_that_fit(run.scale, share, free, run.processes.world_size, run.hardware)


def agreed(value: float, run: Run, device: torch.device) -> float:
    """The smallest of the values of all processes, so that each decides alike."""
    if run.processes.world_size == 1:
        return value
    join(device)
    smallest = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(smallest, distributed.ReduceOp.MIN)
    return float(smallest)


def join(device: torch.device) -> None:
    """Joins torchrun's other processes, once; without torchrun a process is a group of its own."""
    if distributed.is_initialized():
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    patience = timedelta(seconds=PATIENCE)
    if "RANK" in os.environ:
        distributed.init_process_group(backend, timeout=patience)
    else:
        store = distributed.HashStore()  # type: ignore[attr-defined, unused-ignore]
        distributed.init_process_group(backend, timeout=patience, store=store, world_size=1, rank=0)
