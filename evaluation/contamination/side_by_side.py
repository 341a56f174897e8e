"""An example beside the document in which it was found, for a person to compare.

Only for the eye: what matches is decided in verify.py, by rules of its own.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from evaluation.contamination.questions import Question

WORD = re.compile(r"\w+")
MOST_WORDS = 3_000  # of each text; what lies behind is shown unmarked
Pieces = list[tuple[str, bool]]  # the text in order, and whether it also stands on the other side


def text_of(question: Question) -> str:
    """All that an example asks and answers, in the order of a reader."""
    parts = [question.passage, question.question, *question.choices]
    parts += [answer for answer in question.answers if answer not in question.choices]
    return "\n".join(part.strip() for part in parts if part.strip())


def side_by_side(example: str, document: str) -> tuple[Pieces, Pieces]:
    """Both texts with the words marked that they share in the same order."""
    ours, theirs = (list(WORD.finditer(text))[:MOST_WORDS] for text in (example, document))
    folded = [[word[0].casefold() for word in words] for words in (ours, theirs)]
    matcher = SequenceMatcher(None, folded[0], folded[1], autojunk=False)
    blocks = matcher.get_matching_blocks()[:-1]  # the last is an empty one
    return (
        _marked(example, [(ours[b.a].start(), ours[b.a + b.size - 1].end()) for b in blocks]),
        _marked(document, [(theirs[b.b].start(), theirs[b.b + b.size - 1].end()) for b in blocks]),
    )


def _marked(text: str, spans: list[tuple[int, int]]) -> Pieces:
    pieces, place = [], 0
    for start, end in spans:
        pieces += [(text[place:start], False), (text[start:end], True)]
        place = end
    pieces.append((text[place:], False))
    return [(piece, found) for piece, found in pieces if piece]
