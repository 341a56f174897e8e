"""`url-rules`: drops documents by their address, as RefinedWeb does (Penedo et al. 2023, G.1).

The lists are files of yours, one entry a line; lines with # are comments. No list comes along.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from submissions.curation.step import Document, Step, step

_WORDS = re.compile(r"[^\W_]+")


@step("url-rules")
class UrlRules(Step, frozen=True):
    """`soft_words` drop an address in which two of them stand, everything else at once."""

    reads: ClassVar[str] = "url"
    paths: ClassVar[tuple[str, ...]] = ("domains", "substrings", "hard_words", "soft_words")

    domains: str = ""
    substrings: str = ""
    hard_words: str = ""
    soft_words: str = ""
    drop_without_url: bool = False

    def check(self) -> None:
        """Raises ValueError where nothing would be dropped."""
        if not any(getattr(self, name) for name in self.paths) and not self.drop_without_url:
            raise ValueError(f"name at least one list: {', '.join(self.paths)}")

    def apply(self, document: Document) -> str | None:
        """The first list that the address is on."""
        url = document.url.lower()
        if not url:
            return "no address" if self.drop_without_url else None
        if self.domains and _is_below(url, lines_of(self.domains)):
            return "domain"
        if self.substrings and any(one in url for one in lines_of(self.substrings)):
            return "part of the address"
        words = set(_WORDS.findall(url)) if self.hard_words or self.soft_words else set()
        if self.hard_words and words & lines_of(self.hard_words):
            return "word in the address"
        if self.soft_words and len(words & lines_of(self.soft_words)) >= 2:
            return "two words in the address"
        return None


def _is_below(url: str, domains: frozenset[str]) -> bool:
    """Whether the host or a domain above it is on the list."""
    try:
        parts = (urlsplit(url).hostname or "").split(".")
    except ValueError:
        return False  # no address that a browser would take
    return any(".".join(parts[start:]) in domains for start in range(len(parts)))


@functools.cache
def lines_of(path: str) -> frozenset[str]:
    """The entries of a list in lower case."""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return frozenset(
        line.strip().lower() for line in lines if line.strip() and not line.startswith("#")
    )
