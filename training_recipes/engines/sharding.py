"""States of models that are sharded over GPUs, in the form that they have on one.

So a run may go on with another number of GPUs, sharded or not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def gathered(document: Any, keep: bool) -> Any:
    """The state dict with whole tensors on the CPU; every process must call it.

    Where `keep` is false nothing is kept, so that only one process needs the memory.
    """
    if isinstance(document, dict):
        return {key: gathered(value, keep) for key, value in document.items()}
    if isinstance(document, list):
        return [gathered(value, keep) for value in document]
    if isinstance(document, DTensor):
        document = document.full_tensor()
    if isinstance(document, Tensor):
        return document.detach().cpu() if keep else None
    return document


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads a whole state into an optimizer whose parameters may be sharded."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    sharded = {
        index: {name: _like(value, parameters[index]) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict(state | {"state": sharded})


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's shard of a moment, as its parameter is sharded; other values as they are."""
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    mesh = parameter.device_mesh
    return distribute_tensor(
        value.to(mesh.device_type), mesh, parameter.placements, src_data_rank=None
    )
