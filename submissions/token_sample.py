"""How many tokens a dataset holds, from a sample of its documents that is really tokenised.

Bytes a token differ between languages by a factor of three, so no fixed number tells.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

DOCUMENTS = 300  # of each source that are drawn, each as likely as any other
LONGEST = 20_000  # characters of one that are tokenised
SURE = 4.0  # standard errors within which the truth is taken to lie
LEAST_SLACK = 0.1  # of the estimate, in which it may differ however small its error is

CountTokens = Callable[[Sequence[str]], Sequence[int]]  # ids of each text


class Tokens(NamedTuple):
    """An estimate with its standard error; `least` and `most` are what there surely can be."""

    estimate: int
    error: int | None
    least: float
    most: float


class TokenSample:
    """The sample of one source, drawn in one pass; the same for the same documents in order."""

    def __init__(self, source: str) -> None:
        self._draw = random.Random(f"tokens of {source}")  # noqa: S311 - no secret
        self.texts: list[str] = []
        self.documents = self.bytes = 0

    def add(self, text: str, size: int) -> None:
        """Takes one document of so many bytes into account."""
        self.documents += 1
        self.bytes += size
        if len(self.texts) < DOCUMENTS:
            self.texts.append(text[:LONGEST])
        elif (place := int(self._draw.random() * self.documents)) < DOCUMENTS:
            self.texts[place] = text[:LONGEST]

    def state(self) -> dict[str, Any]:
        """All that it holds, as JSON has it."""
        _, words, _ = self._draw.getstate()
        return {"draw": list(words), "texts": self.texts, "documents": self.documents,
                "bytes": self.bytes}  # fmt: skip

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Becomes the sample that was in that state."""
        self._draw.setstate((3, tuple(state["draw"]), None))
        self.texts, self.documents, self.bytes = (
            list(state["texts"]), state["documents"], state["bytes"],
        )  # fmt: skip

    def tokens(self, count: CountTokens | None, bytes_per_token: float) -> Tokens:
        """With an end-of-text id for each document.

        Without `count` by `bytes_per_token`, and then without an error: a token may be one byte.
        """
        if count is None:
            return Tokens(
                round(self.bytes / bytes_per_token),
                None,
                self.documents,
                self.bytes + self.documents,
            )
        sizes = [len(text.encode()) for text in self.texts]
        counts = count(self.texts) if self.texts else []
        share = sum(counts) / max(sum(sizes), 1)
        estimate = share * self.bytes + self.documents
        error = self._error(sizes, counts, share)
        slack = max(SURE * error, LEAST_SLACK * estimate)
        return Tokens(round(estimate), math.ceil(error), estimate - slack, estimate + slack)

    def _error(self, sizes: Sequence[int], counts: Sequence[int], share: float) -> float:
        """The standard error of a ratio estimate (Cochran, Sampling Techniques, 6.4)."""
        n = len(sizes)
        if n == self.documents and sum(sizes) == self.bytes:
            return 0.0  # all was tokenised
        if n < 2:
            return share * self.bytes
        spread = sum((c - share * s) ** 2 for s, c in zip(sizes, counts, strict=True)) / (n - 1)
        return math.sqrt(spread / n) / max(sum(sizes) / n, 1) * self.bytes
