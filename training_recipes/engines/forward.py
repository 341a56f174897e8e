"""From rows to the loss that a recipe minimises, for every engine that trains OpenLM itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training_recipes.chunked_loss import chunked_loss
from training_recipes.engines.run import Run
from training_recipes.model import OpenLM
from training_recipes.training_rules import training_loss

AMP = "amp_bfloat16"


class Forward:
    """The loss of rows [B, seq_len + 1] by the scale's precision; the model stays the caller's.

    In `amp_bfloat16` model and loss run under autocast and the residual stream is in bfloat16, as
    it is under FSDP, with which DCLM trains these scales: so `fsdp` leaves the mathematics alone.
    There the loss is computed in chunks; in float32 from all logits at once, as ever.
    """

    def __init__(self, model: OpenLM, run: Run) -> None:
        self.model, self.z_loss = model, run.scale.optimizer.z_loss
        self.amp = run.scale.precision == AMP
        self.criterion = training_loss
        if self.amp:
            model.tok_embeddings.register_forward_hook(in_bfloat16)
        if run.hardware.compile:
            for layer in model.layers:
                layer.compile()
            self.criterion = torch.compile(training_loss)

    def __call__(self, rows: Tensor) -> Tensor:
        """A scalar in float32."""
        ids, targets = rows[:, :-1], rows[:, 1:]
        if not self.amp:
            return self.criterion(self.model(ids), targets, self.z_loss)
        with torch.autocast(rows.device.type, torch.bfloat16):
            loss: Tensor = self.model(ids, head=self._head(targets))
            return loss

    def _head(self, targets: Tensor) -> Any:
        return lambda hidden, weight: chunked_loss(hidden, weight, targets, self.z_loss)


def in_bfloat16(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    """A forward hook of the embedding: the residual stream is in bfloat16 from there on."""
    return output.bfloat16()
