"""`gopher-quality`: Gopher's rules on words and lines (Rae et al. 2021, appendix A1.1).

Words are what stands between white space, as in DCLM; FineWeb counts spaCy's tokens, which differ.
"""

from __future__ import annotations

from submissions.curation.step import Document, Step, step

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
BULLETS = ("•", "‣", "*", "-", "–", "●", "▪")


@step("gopher-quality")
class GopherQuality(Step, frozen=True):
    """The defaults are the paper's thresholds."""

    least_words: int = 50
    most_words: int = 100_000
    shortest_mean: float = 3.0  # characters of a word
    longest_mean: float = 10.0
    most_symbols: float = 0.1  # of # and … for each word
    most_bullets: float = 0.9  # of the lines
    most_ellipses: float = 0.3  # of the lines
    least_alphabetic: float = 0.8  # of the words
    least_stop_words: int = 2

    def apply(self, document: Document) -> str | None:
        """The first rule that the document breaks."""
        words, text = document.words, document.text
        if len(words) < self.least_words:
            return "too few words"
        if len(words) > self.most_words:
            return "too many words"
        if not self.shortest_mean <= sum(map(len, words)) / len(words) <= self.longest_mean:
            return "mean word length"
        if text.count("#") > self.most_symbols * len(words):
            return "symbols"
        if text.count("…") + text.count("...") > self.most_symbols * len(words):
            return "symbols"
        lines = [line for line in map(str.strip, text.splitlines()) if line]
        if sum(line.startswith(BULLETS) for line in lines) > self.most_bullets * len(lines):
            return "bullets"
        if sum(line.endswith(("…", "...")) for line in lines) > self.most_ellipses * len(lines):
            return "ellipses"
        letters = sum(word.isalpha() or any(map(str.isalpha, word)) for word in words)
        if letters < self.least_alphabetic * len(words):
            return "too few words with letters"
        if sum(word.lower() in STOP_WORDS for word in words) < self.least_stop_words:
            return "too few stop words"
        return None
