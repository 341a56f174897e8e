"""`minhash-duplicates`: keeps the first of documents that are nearly the same.

Candidates share a band of their signature (14 bands of 8, FineWeb's numbers); `least` is the share
of equal places from which they count as the same. What is like a dropped document is dropped too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from submissions.curation.step import Document, JointStep, step
from submissions.near_duplicates import BANDS, PERMUTATIONS, ROWS, signature

if TYPE_CHECKING:
    from numpy.typing import NDArray


@step("minhash-duplicates")
class MinHashDuplicates(JointStep, frozen=True):
    """448 bytes of memory a document, in one process."""

    least: float = 0.7

    def observe(self, documents: Sequence[Document]) -> NDArray[Any]:
        """The signatures, shape (documents, PERMUTATIONS)."""
        import numpy as np

        made = [signature(document.text) for document in documents]
        return np.array(made, np.uint32).reshape(-1, PERMUTATIONS)

    def decide(self, rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The first of each group of like documents."""
        import numpy as np

        if not rows:
            return []
        sketches = np.concatenate(rows)
        leader = np.arange(len(sketches))
        for band in range(BANDS):
            key = np.ascontiguousarray(sketches[:, band * ROWS : (band + 1) * ROWS])
            _, group = np.unique(key.view(f"V{4 * ROWS}").ravel(), return_inverse=True)
            order = np.argsort(group, kind="stable")
            starts = np.flatnonzero(np.diff(group[order], prepend=-1))
            for members in np.split(order, starts[1:]):
                if len(members) > 1:
                    self._join(members, sketches, leader)
        kept = np.array([_root(leader, one) == one for one in range(len(leader))], bool)
        return np.split(kept, np.cumsum([len(one) for one in rows])[:-1])

    def reason(self) -> str:
        """Why a document is dropped."""
        return "near copy"

    def _join(self, members: Any, sketches: Any, leader: Any) -> None:
        """Gives like documents of a band the earliest one as their leader."""
        first = members[0]  # the order is stable: the earliest
        alike = (sketches[members[1:]] == sketches[first]).mean(axis=1) >= self.least
        for other in members[1:][alike]:
            one, two = sorted((_root(leader, first), _root(leader, other)))
            leader[two] = one


def _root(leader: Any, one: int) -> int:
    while leader[one] != one:
        leader[one] = leader[leader[one]]
        one = leader[one]
    return int(one)
