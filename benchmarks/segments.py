"""How many characters of a script without spaces carry as much as an English word.

    python benchmarks/segments.py

Reads the messages that Django and the programs of this system ship in several languages: each in
English and translated. Counts the words of both sides as the search for leaked questions does,
in messages of ten English words or more; words in Latin letters that the translation keeps count on
neither side. For Japanese, least squares tell ideographs and kana apart.
"""

from __future__ import annotations

import gettext
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import django
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.contamination.words import Words

LANGUAGES = {"Chinese": ("zh_Hans", "zh_Hant", "zh_CN", "zh_TW"), "Japanese": ("ja",),
             "Thai": ("th",), "Burmese": ("my",), "Khmer": ("km",)}  # fmt: skip
FEWEST, FEWEST_TRANSLATED = 10, 8
PLACEHOLDER = re.compile(r"%[-\d.$]*\(?\w*\)?[a-z]*|\{\w*\}|<[^>]*>|&\w+;|`[^`]*'|--\w+")


def messages(languages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(English, translated) of every message."""
    ours, system = Path(django.__file__).parent, Path("/usr/share/locale")
    for language in languages:
        files = [*ours.glob(f"**/locale/{language}/LC_MESSAGES/*.mo"),
                 *system.glob(f"{language}/LC_MESSAGES/*.mo")]  # fmt: skip
        for path in files:
            if path.name.startswith("iso_"):
                continue  # names of countries
            try:
                with path.open("rb") as file:
                    catalog = vars(gettext.GNUTranslations(file))["_catalog"]
            except (OSError, UnicodeDecodeError):
                continue
            for english, translated in catalog.items():
                if isinstance(english, str) and english and translated not in ("", english):
                    yield (PLACEHOLDER.sub(" ", english.split("\x04")[-1]),
                           PLACEHOLDER.sub(" ", translated))  # fmt: skip


def main() -> None:
    """Prints a line for each language."""
    for name, languages in LANGUAGES.items():
        rows = []
        for english, translated in messages(languages):
            words, characters = (len(Words(t.encode()).hashes) for t in (english, translated))
            kept = len(re.findall(r"[A-Za-z]+", translated))
            if words >= FEWEST and words - kept >= FEWEST_TRANSLATED:
                ideographs = len(re.findall(r"[\u4e00-\u9fff]", translated))
                kana = len(re.findall(r"[\u3040-\u30ff]", translated))
                rows.append((words - kept, characters - kept, ideographs, kana))
        table = np.array(rows, float).reshape(-1, 4)
        words, characters = table[:, :2].sum(axis=0)
        line = f"{name}: {len(rows):,} messages, {characters / max(words, 1):.2f} characters a word"
        if name == "Japanese" and len(rows):
            shares = np.linalg.lstsq(table[:, 2:], table[:, 0], rcond=None)[0]
            line += f" (ideographs {1 / shares[0]:.2f}, kana {1 / shares[1]:.2f})"
        print(line)


if __name__ == "__main__":
    main()
