"""`refinedweb-lines`: cuts lines of page furniture (Penedo et al. 2023, G.2; DCLM's order).

Drops the document if that took more than a twentieth of its words.
"""

from __future__ import annotations

import re

from submissions.curation.step import Document, Step, step

_COUNTER = re.compile(r"^\W*\d[\d.,]*[kKmM]?\s+(?:likes?|shares?|comments?|retweets?|reposts?|"
                      r"quotes?|bookmarks?|upvotes?|downvotes?|downloads?|views?|followers?)\W*$",
                      re.IGNORECASE)  # fmt: skip
_START = re.compile(r"^(?:sign[ -]in|log[ -]in|sign[ -]up)\b", re.IGNORECASE)
_END = re.compile(r"(?:read more|see more|show more|continue reading)\W*$", re.IGNORECASE)
_ANYWHERE = re.compile(r"items? in (?:your )?cart", re.IGNORECASE)
SHORT = 10  # words of a line to which the last three apply


@step("refinedweb-lines")
class RefinedWebLines(Step, frozen=True):
    """The defaults are RefinedWeb's."""

    most_capitals: float = 0.5  # of a line's characters
    most_cut: float = 0.05  # of the document's words

    def apply(self, document: Document) -> str | None:
        """Cuts lines, then drops the document if that was much of it."""
        kept, cut = [], 0
        for line in document.text.splitlines():
            bare = line.strip()
            reason = self._fault_of(bare) if bare else None
            if reason is None:
                kept.append(line)
            else:
                cut += len(bare.split())
                document.cut(reason, bare)
        if cut > self.most_cut * len(document.words):
            return "much was cut"
        document.text = "\n".join(kept).strip()
        return None if document.text else "nothing is left"

    def _fault_of(self, line: str) -> str | None:
        if sum(map(str.isupper, line)) > self.most_capitals * len(line):
            return "line of capitals"
        if not any(map(str.isalpha, line)):
            return "line of numbers"
        if _COUNTER.match(line):
            return "line of a counter"
        words = len(line.split())
        if words < 2:
            return "line of one word"
        furniture = _START.search(line) or _END.search(line) or _ANYWHERE.search(line)
        return "line of furniture" if words <= SHORT and furniture else None
