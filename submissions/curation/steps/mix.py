"""`mix`: thins sources out until they have given shares of the bytes.

A document's source is its key `source`, up to the first /. Nothing is repeated: the source that is
scarcest for its weight stays whole. To weigh sources in training instead, see docs/mixtures.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from submissions.curation.step import Document, JointStep, step
from submissions.curation.steps.sample import limit_of, marks
from submissions.failures import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray


@step("mix")
class Mix(JointStep, frozen=True):
    """`weights` by source; sources without a weight are dropped."""

    weights: dict[str, float]
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError for weights that are no shares."""
        if not self.weights or min(self.weights.values()) <= 0:
            raise ValueError("give every source of weights a number above 0")

    def observe(self, documents: Sequence[Document]) -> NDArray[Any]:
        """Source, hash and size of each document."""
        import numpy as np

        found = np.zeros(len(documents), [("source", "<u8"), ("mark", "<u8"), ("bytes", "<u8")])
        drawn = marks(documents, self.seed)
        found["mark"], found["bytes"] = drawn["mark"], drawn["bytes"]
        found["source"] = [_key(one.source.partition("/")[0]) for one in documents]
        return found

    def decide(self, rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """As much of each source as its weight allows."""
        import numpy as np

        if not rows:
            return []
        together = np.concatenate(rows)
        of_source = {name: together[together["source"] == _key(name)] for name in self.weights}
        sizes = {name: int(one["bytes"].sum()) for name, one in of_source.items()}
        if missing := sorted(name for name, size in sizes.items() if not size):
            said = f"step mix: there is no document of the source {', '.join(missing)}"
            raise Failure("curation_invalid", said)
        unit = min(sizes[name] / weight for name, weight in self.weights.items())
        kept = [np.zeros(len(one), bool) for one in rows]
        for name, weight in self.weights.items():
            limit = limit_of(of_source[name], round(unit * weight))
            for one, keep in zip(rows, kept, strict=True):
                keep |= (one["source"] == _key(name)) & (one["mark"] <= limit)
        return kept

    def reason(self) -> str:
        """Why a document is dropped."""
        return "more than the share"


def _key(source: str) -> int:
    digest = hashlib.blake2b(source.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
