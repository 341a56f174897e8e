"""`sample`: keeps documents drawn by a hash of their text, all copies of a text or none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from submissions.curation.step import Document, JointStep, step

if TYPE_CHECKING:
    from numpy.typing import NDArray


@step("sample")
class Sample(JointStep, frozen=True):
    """Keeps a `share` of the documents, or as many as fit into so many `bytes` of text."""

    share: float | None = None
    bytes: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError unless one of the two is given."""
        if (self.share is None) == (self.bytes is None):
            raise ValueError("give either share or bytes")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError("share must be above 0 and at most 1")

    def observe(self, documents: Sequence[Document]) -> NDArray[Any]:
        """Hash and size of each document."""
        return marks(documents, self.seed)

    def decide(self, rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Those with the smallest hashes."""
        import numpy as np

        if self.share is not None:
            limit = np.uint64(min(int(self.share * 2**64), 2**64 - 1))
            return [one["mark"] <= limit for one in rows]
        assert self.bytes is not None
        together = np.concatenate(rows) if rows else np.zeros(0, MARK)
        return [one["mark"] <= limit_of(together, self.bytes) for one in rows]

    def reason(self) -> str:
        """Why a document is dropped."""
        return "not drawn"


MARK = [("mark", "<u8"), ("bytes", "<u8")]


def marks(documents: Sequence[Document], seed: int) -> NDArray[Any]:
    """A hash of seed and text, and the text's bytes, for each document."""
    import numpy as np

    found = np.zeros(len(documents), MARK)
    for number, document in enumerate(documents):
        data = document.text.encode(errors="replace")
        digest = hashlib.blake2b(data, digest_size=8, key=str(seed).encode()).digest()
        found[number] = int.from_bytes(digest, "little"), len(data)
    return found


def limit_of(together: NDArray[Any], most: int) -> Any:
    """The largest hash up to which the documents have at most so many bytes, at least one."""
    import numpy as np

    if not len(together):
        return np.uint64(0)
    ordered = np.sort(together, order="mark")
    fitting = int(np.searchsorted(np.cumsum(ordered["bytes"]), most, side="right"))
    return ordered["mark"][max(fitting, 1) - 1]
