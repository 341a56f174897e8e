"""`exact-duplicates`: keeps the first of documents with the same text, in the shards' order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from submissions.curation.step import Document, JointStep, step

if TYPE_CHECKING:
    from numpy.typing import NDArray


@step("exact-duplicates")
class ExactDuplicates(JointStep, frozen=True):
    """By a hash of 128 bits: 16 bytes of memory a document, and 24 more while they are sorted."""

    def observe(self, documents: Sequence[Document]) -> NDArray[Any]:
        """The hashes, shape (documents,), 16 bytes each."""
        import numpy as np

        digests = b"".join(
            hashlib.blake2b(document.text.encode(errors="replace"), digest_size=16).digest()
            for document in documents
        )
        return np.frombuffer(digests, dtype=[("high", ">u8"), ("low", ">u8")])

    def decide(self, rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The first of each hash."""
        return first_of_each(rows)

    def reason(self) -> str:
        """Why a document is dropped."""
        return "exact copy"


def first_of_each(rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """For each shard, which rows are the first of their value over all shards in order."""
    import numpy as np

    if not rows:
        return []
    together = np.concatenate(rows)
    _, first = np.unique(together, return_index=True)
    kept = np.zeros(len(together), bool)
    kept[first] = True
    return np.split(kept, np.cumsum([len(one) for one in rows])[:-1])
