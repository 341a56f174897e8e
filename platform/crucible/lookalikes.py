"""Names that look like another's: the same after Unicode's table of confusable characters.

The table is that of the package confusable-homoglyphs (Unicode Technical Standard 39).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from confusable_homoglyphs.confusables import confusables_data


@lru_cache(maxsize=50_000)
def skeleton(name: str) -> str:
    """Equal for names that a reader may take for each other: case, width and script are gone."""
    plain = "".join(map(_prototype, unicodedata.normalize("NFKC", name)))
    folded = "".join(map(_prototype, plain.casefold()))
    # I, a capital i, is among those that look like l.
    return "".join(folded.split()).replace("i", "l")


def lookalike(name: str, others: Iterable[str]) -> str | None:
    """The first of `others` that looks like this name, the very same one included."""
    wanted = skeleton(name)
    return next((other for other in others if skeleton(other) == wanted), None)


def _prototype(letter: str) -> str:
    """What the table writes for a character; a prototype has a list of all that look like it."""
    found = [str(entry["c"]) for entry in confusables_data.get(letter, [])]
    if len(found) != 1:
        return letter
    back = confusables_data.get(found[0], [])
    return min(letter, found[0]) if len(back) == 1 and len(found[0]) == 1 else found[0]
