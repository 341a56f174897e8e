"""Names and texts that people write: what cannot be seen in them is refused, or shown by its code.

A character that has no width, turns the direction of writing or drives a terminal lets one name
pass for another, and one line of a log for something that the job did not say.
"""

from __future__ import annotations

import unicodedata

from submissions.failures import Failure

# Control, format (bidi and zero-width among them), half of a surrogate pair, not a character, line
# and paragraph separator.
UNSEEN = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
BLANK = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}  # letters and symbols without ink
LINES = {"\n", "\r", "\t"}
JOINERS = {"\u200c", "\u200d"}  # which Persian, Hindi and emoji need


def checked_name(name: str, what: str, most: int) -> str:
    """The name in normal form (NFC) without white space around it; `what` is what it names.

    Raises `refused` for an empty one, one beyond `most` characters, and one in which something
    cannot be seen.
    """
    name = unicodedata.normalize("NFC", name).strip()
    _refuse(name, what, frozenset())
    if not name:
        raise Failure("refused", f"give {what}: it is empty")
    if len(name) > most:
        raise Failure("refused", f"shorten {what} to {most} characters")
    return name


def checked_text(text: str, what: str, most: int) -> str:
    """The same for a text of several lines, which may be empty; it is cut after `most`."""
    text = text.strip()[:most]
    _refuse(text, what, frozenset(LINES | JOINERS))
    return text


def visible(text: str) -> str:
    """The text with all that cannot be seen in it written as its code: <U+202E>."""
    if text.isprintable():  # the usual case; what it may still hold is blank
        return text if BLANK.isdisjoint(text) else "".join(map(_shown, text))
    return "".join(map(_shown, text))


def _shown(letter: str) -> str:
    fine = letter in LINES or letter in JOINERS or not is_unseen(letter)
    return letter if fine else f"<U+{ord(letter):04X}>"


def is_unseen(letter: str) -> bool:
    """Whether a reader does not see this character."""
    return unicodedata.category(letter) in UNSEEN or letter in BLANK


def _refuse(text: str, what: str, but: frozenset[str]) -> None:
    for place, letter in enumerate(text, start=1):
        if letter not in but and is_unseen(letter):
            name = unicodedata.name(letter, "")
            code = f"U+{ord(letter):04X} {name}".strip()
            raise Failure(
                "refused", f"remove character {place} of {what}, {code}: nobody can see it"
            )
