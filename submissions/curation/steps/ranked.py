"""What steps share that give each document a figure and keep the best."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from submissions.curation.step import Document, JointStep

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RankedStep(JointStep, frozen=True):
    """Keeps a `share` of the documents, or those from a `threshold` on; the higher the better."""

    share: float | None = None
    threshold: float | None = None

    def check(self) -> None:
        """Raises ValueError unless one of the two is given."""
        if (self.share is None) == (self.threshold is None):
            raise ValueError("give either share or threshold")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError("share must be above 0 and at most 1")

    @abstractmethod
    def figure(self, document: Document) -> float:
        """The document's figure."""

    def observe(self, documents: Sequence[Document]) -> NDArray[Any]:
        """The figures, shape (documents,)."""
        import numpy as np

        return np.array([self.figure(document) for document in documents], np.float64)

    def decide(self, rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The best; where several have the figure at the border, all of them stay."""
        import numpy as np

        limit = self.threshold
        if self.share is not None and rows:
            together = np.sort(np.concatenate(rows))[::-1]
            count = max(round(self.share * len(together)), 1) if len(together) else 0
            limit = together[count - 1] if count else 0.0
        return [one >= limit for one in rows]
