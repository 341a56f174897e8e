"""Quality as the rules of MassiveText see it: how many of them a text keeps.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
appendix A.1.1. A rule of thumb for web prose: short pages of a manual fail it, and are no worse.
"""

from __future__ import annotations

from collections.abc import Sequence

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
RULES = {
    "words": "50 to 100,000 words",
    "word_length": "words of 3 to 10 characters on average",
    "symbols": "fewer than one # or … for ten words",
    "bullets": "fewer than 90 % of the lines begin with a bullet",
    "ellipses": "fewer than 30 % of the lines end with an ellipsis",
    "letters": "80 % of the words hold a letter",
    "stop_words": "two of eight common words (English texts alone)",
}
_BULLETS = ("•", "‣", "▪", "–", "-", "*", "●")


def broken_rules(text: str, lines: Sequence[str], language: str) -> list[str]:
    """The names of the RULES that a text breaks; `lines` are its lines that are not empty."""
    words = text.split()
    number, of_lines = len(words), len(lines) or 1
    symbols = text.count("#") + text.count("…") + text.count("...")
    holds = {
        "words": 50 <= number <= 100_000,
        "word_length": number > 0 and 3 <= sum(map(len, words)) / number <= 10,
        "symbols": symbols < 0.1 * number,
        "bullets": sum(line.startswith(_BULLETS) for line in lines) / of_lines < 0.9,
        "ellipses": sum(line.endswith(("…", "...")) for line in lines) / of_lines < 0.3,
        "letters": sum(any(map(str.isalpha, one)) for one in words) >= 0.8 * number > 0,
        "stop_words": language != "en" or len(STOP_WORDS & set(text.lower().split())) >= 2,
    }
    return [name for name, kept in holds.items() if not kept]
