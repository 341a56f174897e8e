"""The processes of one evaluation, as torchrun starts them, and what each of them computes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")
LONGEST_RUN = timedelta(days=7)  # the first process waits so long for the others' answers


class Processes:
    """This process's number `rank` among `size`; one alone where torchrun started none."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, costs: Sequence[float]) -> list[int]:
        """Which pieces of work are this process's: each process gets about the same cost.

        The pieces are dealt from the most to the least expensive, back and forth, so neighbours in
        cost go to different processes. All processes must give the same costs.
        """
        order = sorted(range(len(costs)), key=lambda i: (-costs[i], i))
        mine = []
        for place, piece in enumerate(order):
            turn, seat = divmod(place, self.size)
            if (seat if turn % 2 == 0 else self.size - 1 - seat) == self.rank:
                mine.append(piece)
        return sorted(mine)

    def agree(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        box = [value]
        self._group().broadcast_object_list(box, src=0)
        return box[0]

    def collect(self, value: T) -> list[T]:
        """Every process's value, in the first one; nothing in the others."""
        if self.size == 1:
            return [value]
        everything: list[Any] | None = [None] * self.size if self.first else None
        self._group().gather_object(value, everything, dst=0)
        return everything or []

    def _group(self) -> Any:
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=LONGEST_RUN)
        return dist
