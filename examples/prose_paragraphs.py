"""A curation step of one's own: keeps those paragraphs that read like English sentences.

    crucible curate RECIPE --input POOL --output DIR --steps examples/prose_paragraphs.py

C4's and Gopher's heuristics, on paragraphs: documentation mixes prose with code and tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from submissions.curation.step import Document, Step, step

STOP_WORDS = frozenset(
    ("the", "be", "to", "of", "and", "that", "have", "with", "a", "in", "is", "it", "for", "on",
     "are", "as", "this", "by", "not", "or", "an", "from", "if", "can")
)  # fmt: skip
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
ROLE = re.compile(r":[a-z:]+:`~?([^`<]*?)(?: <[^`>]*>)?`")  # :class:`~a.B` of reStructuredText
# A bullet, a number or a parameter's name with its type, at the head of a list item.
ITEM = re.compile(r"^(?:[-*•]|\d+[.)]|:\w+ ?[^:]*:|[\w*.`]+ ?(?:\([^)]*\))? ?:)\s+")
MIN_PARAGRAPH, MIN_UNFINISHED, MIN_DOCUMENT = 8, 12, 30  # words


def paragraphs(text: str) -> Iterator[str]:
    """Lines of one indentation, joined as if never wrapped; a list item keeps its hanging lines."""
    lines: list[str] = []
    indent = 0
    for line in [*text.splitlines(), ""]:
        bare = line.strip()
        margin = len(line) - len(line.lstrip())
        hangs = len(lines) == 1 and margin > indent and ITEM.match(lines[0])
        if lines and ((margin != indent and not hangs) or not WORD.search(bare)):
            yield re.sub(r"\s+", " ", " ".join(lines))
            lines = []
        if WORD.search(bare):
            indent = margin
            lines.append(bare)


def clean(paragraph: str) -> str:
    """The paragraph without its bullet or parameter name and the marks of inline markup."""
    paragraph = ROLE.sub(r"\1", ITEM.sub("", paragraph))
    return re.sub(r"\*(\w+)\*", r"\1", re.sub(r"[`]|\*\*", "", paragraph)).strip()


def fault_of_paragraph(paragraph: str) -> str | None:
    """Why a paragraph is no prose, or None. The thresholds follow Gopher (2112.11446, table A1)."""
    words = WORD.findall(paragraph)
    if len(words) < MIN_PARAGRAPH:
        return "too short"
    whole = paragraph[0].isupper() and paragraph.rstrip("\"')”’").endswith((".", "!", "?", ":"))
    if not whole and len(words) < MIN_UNFINISHED:
        return "no whole sentence"
    if not 3 <= sum(map(len, words)) / len(words) <= 8:
        return "mean word length"
    if sum(map(len, words)) + paragraph.count(" ") < 0.85 * len(paragraph):
        return "too few letters"
    if len(re.findall(r"[{}\[\]<>=_|\\/*#@$%^~+]", paragraph)) > 0.025 * len(paragraph):
        return "symbols"
    if sum(word.lower() in STOP_WORDS for word in words) < 0.2 * len(words):
        return "too few English stop words"
    if len({word.lower() for word in words}) < 0.4 * len(words):
        return "repeats itself"
    return None


@step("prose-paragraphs")
class ProseParagraphs(Step, frozen=True):
    """Drops the document if less than `least_words` are left."""

    least_words: int = MIN_DOCUMENT

    def apply(self, document: Document) -> str | None:
        """Cuts the paragraphs that are no prose."""
        kept = []
        for paragraph in map(clean, paragraphs(document.text)):
            if fault := fault_of_paragraph(paragraph):
                document.cut(fault, paragraph)
            else:
                kept.append(paragraph)
        document.text = "\n".join(kept)
        if len(WORD.findall(document.text)) < self.least_words:
            return "too little is left"
        return None
