"""How characters become words: the fold table that both sides of every comparison go through.

A word is a run of letters and digits. Case, compatibility forms (NFKD), accents, zero-width
characters, apostrophes and look-alike letters of Cyrillic and Greek make no difference; everything
else separates words. In scripts without spaces a character is a word by itself.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from html.entities import html5
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FOLDED = 0x20000  # code points with an entry; those above are ideographs, or no letters
SEPARATOR, SKIP, SPECIAL = 0, 1, 2  # entries that are no folded character
ALONE = 1 << 30  # flag: the character is a word by itself
MANY = 1 << 31  # flag: several characters; the rest of the entry is their place in `tails`
ENTITIES = 8192  # places for the 2,000 entities of HTML
ENTITY_START, ENTITY_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a

APOSTROPHES = frozenset("'’ʼ‘‛ʹ′`´＇")
# Scripts without spaces between words: Thai and Lao, Burmese, Khmer, kana, ideographs. With each,
# how many of its characters carry as much as an English word (benchmarks/segments.py measures it).
ALONE_RANGES = ((0x0E00, 0x0EFF, 4.0), (0x1000, 0x109F, 2.5), (0x1780, 0x17FF, 3.0),
                (0x3040, 0x30FF, 3.5), (0x31F0, 0x31FF, 3.5), (0x3400, 0x4DBF, 1.7),
                (0x4E00, 0x9FFF, 1.7), (0xF900, 0xFAFF, 1.7))  # fmt: skip
IDEOGRAPH = 1.7  # the same of those beyond FOLDED
# After lower case: which Latin letter a reader takes these for, in either case.
LOOK_ALIKES = dict(
    zip("авекмнорстухіјѕһԁԛԝ" "αβεζηικμνορτυχ" "ıłøđħ",
        "abekmhopctyxijshdqw" "abezhikmvoptyx" "ilodh", strict=True)
)  # fmt: skip


class Fold(NamedTuple):
    """The table as arrays; compiled code takes it as it is.

    `ascii` [256] uint8: an entry for each byte, SPECIAL where the byte alone does not decide.
    `wide` [FOLDED] uint32: SEPARATOR, SKIP, or a folded code point with ALONE; or MANY with the
    place in `tails` (uint32) where their number and then the code points stand.
    `names` (uint64, a power of two, 0 for empty) is a hash table with open addressing of the
    entities of HTML by the hashes of their names, `codes` (uint32) the code point at the same
    place.
    """

    ascii: npt.NDArray[np.uint8]
    wide: npt.NDArray[np.uint32]
    tails: npt.NDArray[np.uint32]
    names: npt.NDArray[np.uint64]
    codes: npt.NDArray[np.uint32]


@cache
def fold_table() -> Fold:
    """The table by this Python's Unicode data; an index stores its own."""
    wide = np.zeros(FOLDED, np.uint32)
    tails: list[int] = []
    for code in range(FOLDED):
        folded = _folded(chr(code))
        if folded is None:
            continue  # a separator
        if not folded:
            wide[code] = SKIP
        elif len(folded) == 1:
            wide[code] = ord(folded) | (ALONE if _alone(ord(folded)) else 0)
        else:
            wide[code] = MANY | len(tails)
            tails += [len(folded), *map(ord, folded)]
    ascii_ = np.full(256, SPECIAL, np.uint8)
    ascii_[0x20:0x80] = wide[0x20:0x80]
    for byte in b'"\\<&':  # ends, escapes, tags and entities
        ascii_[byte] = SPECIAL
    table = Fold(ascii_, wide, np.array(tails, np.uint32), *_entities())
    for array in table:
        array.flags.writeable = False  # as the arrays of an index are: compiled once for both
    return table


def _entities() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """`names` and `codes` of the table, for every entity that is one character."""
    names, codes = np.zeros(ENTITIES, np.uint64), np.zeros(ENTITIES, np.uint32)
    for name, text in sorted(html5.items()):
        if len(text) > 1 or not name.endswith(";"):
            continue
        key = int(ENTITY_START)
        for letter in name[:-1]:
            key = (key ^ ord(letter)) * int(ENTITY_PRIME) % 2**64
        place = (key >> 32) % ENTITIES
        while names[place]:
            place = (place + 1) % ENTITIES
        names[place], codes[place] = key, ord(text)
    return names, codes


def _folded(character: str) -> str | None:
    """Letters and digits of a character; "" when it is skipped, None when it separates."""
    if character in APOSTROPHES or unicodedata.category(character)[0] == "M":
        return ""
    if unicodedata.category(character) == "Cf":
        return ""  # zero-width characters, soft hyphens, marks of direction
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    kept = "".join(map(_letter, plain))
    return kept or None


def _letter(character: str) -> str:
    if unicodedata.category(character)[0] == "N":
        return str(unicodedata.digit(character, character))
    if unicodedata.category(character)[0] == "L":
        return LOOK_ALIKES.get(character, character)
    return ""


def _alone(code: int) -> bool:
    return any(first <= code <= last for first, last, _ in ALONE_RANGES)


def words_in(text: str) -> float:
    """About how many English words would say the same."""
    alone = sum(
        len(pattern.findall(text)) / characters for pattern, characters in _alone_patterns()
    )
    return len(text.split()) + alone


@cache
def _alone_patterns() -> list[tuple[re.Pattern[str], float]]:
    return [
        (re.compile(f"[{chr(first)}-{chr(last)}]"), characters)
        for first, last, characters in ALONE_RANGES
    ]
