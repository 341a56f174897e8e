"""A text as lines and paragraphs, in bounded memory however long it is."""

from __future__ import annotations

from collections.abc import Iterator

PIECE = 2**20  # characters that are split into lines together


def line_pieces(text: str) -> Iterator[list[str]]:
    """Every line without the white space around it, in lists; white space alone is an empty line.

    Lines end at a newline alone, as in every count of lines here.
    """
    start = 0
    while len(text) - start > PIECE:
        cut = text.find("\n", start + PIECE)
        if cut < 0:
            break
        yield [line.strip() for line in text[start:cut].split("\n")]
        start = cut + 1
    yield [line.strip() for line in (text[start:] if start else text).split("\n")]
