"""`bloom-duplicates`: cuts paragraphs, and drops documents, whose n-grams were seen before.

What DCLM's BFF does with `old-both`: a paragraph leaves when `threshold` of its n-grams stand in
the filter, a document when that holds for all of its n-grams together. Shards are read in the order
of their names; each of the `groups` has a filter of its own (DCLM: 10 by 10).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from submissions.curation.step import Document, SweepStep, step
from submissions.near_duplicates import words as words_of

if TYPE_CHECKING:
    from rbloom import Bloom

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
EXPANSION = 5  # bytes of text for a byte of a compressed shard, to size the filter
MOST_BYTES = 2**36  # of a filter


@step("bloom-duplicates")
class BloomDuplicates(SweepStep, frozen=True):
    """The defaults are DCLM's; `expected` n-grams size the filter, from the shards' bytes if 0."""

    words: Annotated[int, msgspec.Meta(ge=1, le=100)] = 13
    threshold: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    false_positives: Share = 0.01
    expected: int = 0
    paragraphs: bool = True
    documents: bool = True

    def check(self) -> None:
        """Raises ValueError for a step that would do nothing."""
        if not self.paragraphs and not self.documents:
            raise ValueError("paragraphs and documents are both false")
        if self.groups < 1 or self.expected < 0:
            raise ValueError("groups must be at least 1, and expected at least 0")

    def sweep(self, size: int) -> Callable[[Document], str | None]:
        """The rule with an empty filter."""
        from rbloom import Bloom

        expected = self.expected or max(EXPANSION * size // 6, 10_000)  # six bytes a word
        seen = Bloom(expected, self.false_positives, _hash)
        if seen.size_in_bits // 8 > MOST_BYTES:
            raise ValueError("the filter is larger than 64 GiB: use more groups")

        def rule(document: Document) -> str | None:
            return self._apply(document, seen)

        return rule

    def _apply(self, document: Document, seen: Bloom) -> str | None:
        parts = document.text.split("\n")
        grams = [self._grams(part) for part in parts]
        found = [sum(gram in seen for gram in part) for part in grams]
        total = sum(map(len, grams))
        copied = total > 0 and sum(found) >= self.threshold * total
        kept = []
        for part, keys, known in zip(parts, grams, found, strict=True):
            if self.paragraphs and keys and known >= self.threshold * len(keys):
                document.cut("paragraph seen before", part)
            else:
                kept.append(part)
                seen.update(keys)
        if self.documents and copied:
            document.cuts.clear()
            return "document seen before"
        document.text = "\n".join(kept).strip()
        return None if document.text else "all paragraphs seen before"

    def _grams(self, paragraph: str) -> list[bytes]:
        """The n-grams of words of a paragraph, all words as one where there are fewer."""
        words = words_of(paragraph)
        if not words:
            return []
        last = max(len(words) - self.words, 0)
        return [" ".join(words[i : i + self.words]).encode(errors="replace")
                for i in range(last + 1)]  # fmt: skip


def _hash(gram: bytes) -> int:
    """Stable, unlike Python's own; the library wants a signed number of 128 bits."""
    digest = hashlib.blake2b(gram, digest_size=16).digest()
    return int.from_bytes(digest, "big", signed=True)
