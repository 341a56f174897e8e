"""The rows of a run as torch's DataLoader reads them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from training_recipes.engines.run import Run
from training_recipes.training_rows import Part, read_batches


class RowsOfProcess(IterableDataset[Tensor]):
    """This process's rows from step `first` on, each int64 [seq_len + 1]."""

    def __init__(self, run: Run, first: int) -> None:
        self.run, self.first = run, first

    def __iter__(self) -> Iterator[Tensor]:
        run, scale = self.run, self.run.scale
        part = Part(
            run.seed, scale.model.vocab, scale.optimizer.global_batch, scale.steps, self.first,
            run.processes.rank, run.processes.world_size, verify=run.processes.local_rank == 0,
        )  # fmt: skip
        for rows in read_batches(run.tokens, run.summary, part):
            yield from torch.from_numpy(rows.astype(np.int64))
