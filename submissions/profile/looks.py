"""What one text looks like: repetition, compression, boilerplate, code, script and host."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

SCRIPT_CHARACTERS = 2_000  # of a text that are looked at for its script
CODE_SHARE = 0.3  # of the lines, from which on a text is code
CODE_CHARACTERS = 200  # of a line's start and end that are searched: no line is slow
MAX_HOST = 253  # characters, RFC 1035
_CODE_END = re.compile(r"[;{}]$|\)\s*(?::|->.*:|\{)$|=>\s*\{$")
_CODE_START = re.compile(
    r"(?:def|class|elif|public|private|static|void|const|let|var|function|struct"
    r"|#include|#define|package|using|fn|if|for|while|try|except|raise)\b.*[:;({]"
    r"|import \w|from \S+ import|return\b|</?\w+[ >]|[\w.\[\]\"']+ ?[-+*]?= ?\S|[\w.]+\(.*\)$"
)
# Furniture of pages: phrases in lower case that hardly ever stand in the prose itself.
_FURNITURE = re.compile(
    "|".join(
        map(
            re.escape,
            (
                "all rights reserved", "privacy policy", "cookie policy", "terms of use",
                "terms of service", "terms and conditions", "uses cookies", "use cookies",
                "accept cookies", "sign in", "sign up", "log in", "subscribe to", "newsletter",
                "click here", "read more", "share on", "share this", "follow us", "add to cart",
                "back to top", "skip to content", "enable javascript", "powered by",
                "alle rechte vorbehalten", "datenschutzerklärung", "tous droits réservés",
                "politique de confidentialité", "todos los derechos reservados",
                "política de privacidad", "lorem ipsum",
            ),
        )
    )
)  # fmt: skip


def compression_ratio(data: bytes) -> float:
    """Bytes by bytes that zlib makes of them at level 1; 1 for an empty text."""
    return len(data) / len(zlib.compress(data, 1)) if data else 1.0


def repeated_lines(lines: Sequence[str]) -> float:
    """The share of the characters that stand in lines which the text holds already."""
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0


def repeated_runs(shingles: Sequence[str]) -> float:
    """The share of runs of words that repeat an earlier one of the text."""
    return 1 - len(set(shingles)) / len(shingles) if shingles else 0.0


def furniture_share(lines: Sequence[str]) -> float:
    """The share of the lines that hold a phrase of a page's furniture (boilerplate)."""
    if not lines:
        return 0.0
    return sum(_FURNITURE.search(line.lower()) is not None for line in lines) / len(lines)


def is_code(lines: Sequence[str]) -> bool:
    """Whether CODE_SHARE of the lines end or begin as statements of common languages do."""
    if len(lines) < 3:
        return False
    found = sum(
        bool(_CODE_END.search(line[-CODE_CHARACTERS:]) or _CODE_START.match(line[:CODE_CHARACTERS]))
        for line in lines
    )
    return found >= CODE_SHARE * len(lines)


def script_of(text: str) -> str:
    """The script of most letters near the middle, as Unicode names it; empty without letters."""
    start = max(len(text) - SCRIPT_CHARACTERS, 0) // 2
    letters = Counter(filter(str.isalpha, text[start : start + SCRIPT_CHARACTERS]))
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[_script(letter)] += count
    return max(scripts, key=lambda name: (scripts[name], name), default="")


@lru_cache(2**14)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "").split(" ")[0]
    name = {"HIRAGANA": "KANA", "KATAKANA": "KANA", "FULLWIDTH": "LATIN"}.get(name, name)
    return name if name == "CJK" else name.capitalize()


def host_of(url: str) -> str:
    """The host of an address without `www.`, in lower case; empty where there is none."""
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""
    if len(host) > MAX_HOST or not re.fullmatch(r"[a-z0-9.:_-]+", host):
        return ""
    return host.removeprefix("www.")
