"""`gopher-repetition`: Gopher's rules on repetition (Rae et al. 2021, table A1)."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from submissions.curation.step import Document, Step, step

PARAGRAPHS = re.compile(r"\n\s*\n")
TOP = {2: 0.20, 3: 0.18, 4: 0.16}  # share of the characters in the most frequent n-gram
REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # in repeated n-grams


@step("gopher-repetition")
class GopherRepetition(Step, frozen=True):
    """The defaults are the paper's thresholds; those of n-grams are fixed."""

    most_lines: float = 0.3  # that are repeats
    most_paragraphs: float = 0.3
    most_line_characters: float = 0.2
    most_paragraph_characters: float = 0.2

    def apply(self, document: Document) -> str | None:
        """The first rule that the document breaks."""
        text = document.text
        lines = [line for line in map(str.strip, text.splitlines()) if line]
        share, characters = _repeats(lines)
        if share > self.most_lines or characters > self.most_line_characters:
            return "repeated lines"
        share, characters = _repeats([one for one in PARAGRAPHS.split(text.strip()) if one])
        if share > self.most_paragraphs or characters > self.most_paragraph_characters:
            return "repeated paragraphs"
        words = document.words
        total = sum(map(len, words))
        for size, most in TOP.items():
            if _top(words, size) > most * total:
                return f"one run of {size} words again and again"
        for size, most in REPEATED.items():
            if _repeated(words, size) > most * total:
                return f"repeated runs of {size} words"
        return None


def _repeats(parts: list[str]) -> tuple[float, float]:
    """Shares of the parts, and of their characters, that stood before in the document."""
    if not parts:
        return 0.0, 0.0
    seen: set[str] = set()
    repeats = characters = 0
    for part in parts:
        if part in seen:
            repeats += 1
            characters += len(part)
        seen.add(part)
    return repeats / len(parts), characters / sum(map(len, parts))


def _runs(words: list[str], size: int) -> list[tuple[str, ...]]:
    if size == 2:
        return list(pairwise(words))
    return list(zip(*(words[start:] for start in range(size)), strict=False))


def _top(words: list[str], size: int) -> int:
    """Characters in all places of the most frequent run, if it occurs more than once."""
    most = Counter(_runs(words, size)).most_common(1)
    return sum(map(len, most[0][0])) * most[0][1] if most and most[0][1] > 1 else 0


def _repeated(words: list[str], size: int) -> int:
    """Characters of words in runs that stood before, each word once."""
    seen: set[tuple[str, ...]] = set()
    covered = characters = 0  # words before the place `covered` are counted
    for place, run in enumerate(_runs(words, size)):
        if run in seen:
            start = max(place, covered)
            characters += sum(map(len, words[start : place + size]))
            covered = place + size
        seen.add(run)
    return characters
