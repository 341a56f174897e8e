"""`perplexity`: keeps what an n-gram model of KenLM finds likely (CCNet, Wenzek et al. 2020).

`model` is an ARPA file or a binary of KenLM, trained elsewhere, over words in lower case. The
figure is minus the perplexity, so that `share` keeps the likeliest and `threshold = -500` those
below 500.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from submissions.curation.step import Document, step
from submissions.curation.steps.ranked import RankedStep
from submissions.failures import Failure
from submissions.near_duplicates import words

LONGEST = 100_000  # characters that are judged


@step("perplexity")
class Perplexity(RankedStep, frozen=True):
    """Over all words of the document, as one sentence."""

    paths: ClassVar[tuple[str, ...]] = ("model",)

    model: str = ""

    def check(self) -> None:
        """Raises ValueError without a model."""
        super().check()
        if not self.model:
            raise ValueError("give a model of KenLM")

    def figure(self, document: Document) -> float:
        """Minus the perplexity of a word."""
        found = words(document.text[:LONGEST])
        if not found:
            return -float("inf")
        model = _model(self.model)
        return -float(10.0 ** (-model.score(" ".join(found)) / (len(found) + 1)))

    def reason(self) -> str:
        """Why a document is dropped."""
        return "perplexity"


@functools.cache
def _model(path: str) -> Any:
    import kenlm

    try:
        return kenlm.Model(path)
    except (OSError, RuntimeError, ValueError) as error:
        said = str(error).partition("\n")[0][:200]
        raise Failure("curation_invalid", f"{path} is no model of KenLM: {said}") from None
