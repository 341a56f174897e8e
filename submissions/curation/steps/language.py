"""`language`: keeps documents in some languages, by fastText's lid.176."""

from __future__ import annotations

from submissions.curation.step import Document, Step, step
from submissions.languages import language_of


@step("language")
class Language(Step, frozen=True):
    """`least` is how sure the model must be; 0.65 is RefinedWeb's and DCLM's threshold."""

    keep: tuple[str, ...] = ("en",)
    least: float = 0.65

    def apply(self, document: Document) -> str | None:
        """Drops other languages, and what the model is unsure of."""
        found = language_of(document.text)
        if found.code not in self.keep:
            return f"language {found.code}"
        return None if found.share >= self.least else "language not sure"
