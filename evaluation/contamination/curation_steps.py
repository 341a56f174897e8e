"""The curation steps that know the suite: `contamination` and `cosmopedia`.

They stand here, since `submissions` imports nothing of `evaluation`; recipes find them by name.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson

from evaluation.contamination.rules import SEVERITIES
from submissions.curation.step import Document, JointStep, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluation.contamination.blocks import Candidate
    from evaluation.contamination.methods import Methods


class _Flagging(JointStep, frozen=True):
    """Drops documents in which a question of the suite is found."""

    paths: ClassVar[tuple[str, ...]] = ("index",)

    index: str = ""  # a folder of `crucible contamination index`

    def check(self) -> None:
        """Raises ValueError without an index."""
        if not self.index:
            raise ValueError("give an index that `crucible contamination index` wrote")

    def observe(self, documents: Sequence[Document]) -> NDArray[Any]:
        """Whether each document holds a question, shape (documents,)."""
        import numpy as np

        from evaluation.contamination.blocks import Read, scan_of
        from evaluation.contamination.scan import cached_index

        found = np.zeros(len(documents), bool)
        index = cached_index(Path(self.index))
        lines = [orjson.dumps({"text": one.text}, option=orjson.OPT_APPEND_NEWLINE)
                 for one in documents]  # fmt: skip
        for candidate in scan_of(lines, index, Read()):
            found[candidate.line] = self._flags(candidate, documents[candidate.line], index)
        return found

    def decide(self, rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Those without a question."""
        return [~one for one in rows]

    def reason(self) -> str:
        """Why a document is dropped."""
        return "question of the suite"

    def _flags(self, candidate: Candidate, document: Document, index: Any) -> bool:
        raise NotImplementedError


@step("contamination")
class Contamination(_Flagging, frozen=True):
    """Crucible's own search, as `crucible contamination clean` (docs/contamination.md)."""

    severity: Literal["high", "medium", "review", "passage"] = "medium"

    def _flags(self, candidate: Candidate, document: Document, index: Any) -> bool:  # noqa: ARG002
        from evaluation.contamination.verify import findings_of

        rows, _ = findings_of(candidate.sums, candidate.found, index.units)
        grave = SEVERITIES.index(self.severity)
        return any(row[1] <= grave for row in rows.tolist())


@step("cosmopedia")
class Cosmopedia(_Flagging, frozen=True):
    """Cosmopedia's rule: ten words in a row, and difflib finds half of the example."""

    def _flags(self, candidate: Candidate, document: Document, index: Any) -> bool:  # noqa: ARG002
        from evaluation.contamination.words import Words

        words = Words(document.text.encode(errors="replace"), index.fold)
        return bool(_cosmopedia(self.index).flagged(document.text, words)["cosmopedia"])


@functools.cache
def _cosmopedia(folder: str) -> Methods:
    """The rule with the examples' texts, read once in a process."""
    from evaluation.contamination.methods import Methods
    from evaluation.contamination.scan import cached_index

    return Methods(cached_index(Path(folder)), ("cosmopedia",))
