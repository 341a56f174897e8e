"""`c4`: the rules by which C4 was cleaned (Raffel et al. 2020, section 2.2)."""

from __future__ import annotations

import re
from typing import ClassVar

from submissions.curation.step import Document, Step, step
from submissions.curation.steps.url_rules import lines_of

ENDS = (".", "!", "?", '"', "”")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies",
            "use cookies")  # fmt: skip
_CITATION = re.compile(r"\[\d{1,4}\]|\[edit\]|\[citation needed\]")
_SENTENCE = re.compile(r"[.!?][\"”')\]]*(?:\s|$)")
_WORD = re.compile(r"[^\W\d_]+")


@step("c4")
class C4(Step, frozen=True):
    """Keeps lines that end as sentences do; `bad_words` is a list of yours, one word a line."""

    paths: ClassVar[tuple[str, ...]] = ("bad_words",)

    least_line_words: int = 5
    least_sentences: int = 3
    only_sentences: bool = True  # False keeps lines without an end, as FineWeb does
    bad_words: str = ""

    def apply(self, document: Document) -> str | None:
        """Cuts lines, then drops the document by what is left."""
        lowered = document.text.lower()
        if "lorem ipsum" in lowered:
            return "lorem ipsum"
        if "{" in lowered:
            return "curly bracket"
        if self.bad_words and not lines_of(self.bad_words).isdisjoint(_WORD.findall(lowered)):
            return "bad word"
        kept = []
        for line in map(str.strip, document.text.splitlines()):
            line = _CITATION.sub("", line)
            reason = self._fault_of(line)
            if reason is None:
                kept.append(line)
            elif line:
                document.cut(reason, line)
        document.text = "\n".join(kept)
        if len(_SENTENCE.findall(document.text)) < self.least_sentences:
            return "too few sentences"
        return None

    def _fault_of(self, line: str) -> str | None:
        if self.only_sentences and (not line.endswith(ENDS) or line.endswith("...")):
            return "line without an end"
        if len(line.split()) < self.least_line_words:
            return "short line"
        lowered = line.lower()
        if "javascript" in lowered:
            return "line on JavaScript"
        if any(policy in lowered for policy in POLICIES):
            return "line on a policy"
        return None
