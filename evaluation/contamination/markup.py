"""Characters of a text as a reader sees them, compiled: entities and escapes decoded, tags found.

Text that was written for a machine once more, as JSON or HTML inside a document, is decoded by one
level: `&#39;`, `&eacute;`, `\\n`, `\\u00e9` and `\\x27`; `&amp;` as often as it was written again.
What stands inside a tag is text like any other, but apart from what the tag stands in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.contamination.compiling import compiled
from evaluation.contamination.folding import ENTITY_PRIME, ENTITY_START

LESS_THAN, GREATER_THAN, AMPERSAND, QUOTE, BACKSLASH = 0x3C, 0x3E, 0x26, 0x22, 0x5C
APOSTROPHE, SEMICOLON, HASH, SLASH, EQUALS, SPACE = 0x27, 0x3B, 0x23, 0x2F, 0x3D, 0x20
LOWER_N, LOWER_R, LOWER_T, LOWER_U, LOWER_X = 0x6E, 0x72, 0x74, 0x75, 0x78
LINE_END = 0x0A
INVALID = -1  # instead of a code point
LONGEST_ENTITY, LONGEST_NAME = 31, 12  # characters of an entity's name, and of a bare tag's
JSON, PLAIN = np.bool_(True), np.bool_(False)  # typed: literals would be compiled for again


@compiled
def utf8_at(buffer: Any, i: int) -> Any:
    """(code point or INVALID, bytes) of the character at `i` that is not ASCII.

    The buffer must go on with an ASCII byte behind the text.
    """
    lead = np.int64(buffer[i])
    if 0xC2 <= lead < 0xE0:
        second = np.int64(buffer[i + 1])
        if second & 0xC0 == 0x80:
            return ((lead & 0x1F) << 6) | (second & 0x3F), 2
    elif 0xE0 <= lead < 0xF0:
        second = np.int64(buffer[i + 1])
        if second & 0xC0 == 0x80:
            third = np.int64(buffer[i + 2])
            code = ((lead & 0x0F) << 12) | ((second & 0x3F) << 6) | (third & 0x3F)
            if third & 0xC0 == 0x80 and code >= 0x800 and not 0xD800 <= code < 0xE000:
                return code, 3
    elif 0xF0 <= lead < 0xF5:
        second = np.int64(buffer[i + 1])
        if second & 0xC0 == 0x80:
            third = np.int64(buffer[i + 2])
            if third & 0xC0 == 0x80:
                fourth = np.int64(buffer[i + 3])
                code = ((lead & 7) << 18) | ((second & 63) << 12) | ((third & 63) << 6)
                code |= fourth & 63
                if fourth & 0xC0 == 0x80 and 0x10000 <= code < 0x110000:
                    return code, 4
    return INVALID, 1


@compiled
def _digit(code: Any) -> Any:
    """What a hexadecimal digit counts, or INVALID."""
    if 0x30 <= code <= 0x39:
        return code - 0x30
    if 0x41 <= (code & ~0x20) <= 0x46:
        return (code & ~0x20) - 0x37
    return INVALID


@compiled
def _letter(code: Any) -> Any:
    return 0x41 <= (code & ~0x20) <= 0x5A


@compiled
def _json_escape(buffer: Any, i: Any) -> Any:
    """(code or INVALID, behind) of the escape in a JSON string whose backslash is at `i`."""
    c = np.int64(buffer[i + 1])
    if c == LOWER_U:
        code = _hexadecimal(buffer, i + 2, 4)
        if 0xD800 <= code < 0xE000:
            low = INVALID
            if code < 0xDC00 and buffer[i + 6] == BACKSLASH and buffer[i + 7] == LOWER_U:
                low = _hexadecimal(buffer, i + 8, 4)
            if not 0xDC00 <= low < 0xE000:
                return INVALID, i + 6
            return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), i + 12
        return code, i + 6
    if c in (LOWER_N, LOWER_R, LOWER_T) or c == 98 or c == 102:  # and \b, \f
        return LINE_END, i + 2
    return (c if c in (QUOTE, BACKSLASH, SLASH) else INVALID), i + 2


@compiled
def _hexadecimal(buffer: Any, i: Any, digits: int) -> Any:
    """The number that this many bytes write, or INVALID."""
    code: Any = 0
    for k in range(i, i + digits):
        digit = _digit(np.int64(buffer[k]))
        if digit == INVALID:
            return INVALID
        code = code * 16 + digit
    return code


@compiled
def raw_at(buffer: Any, i: Any, json: Any) -> Any:
    """(code or INVALID, behind) of the character at `i`, of a JSON string's content if `json`."""
    c = np.int64(buffer[i])
    if c >= 0x80:
        code, size = utf8_at(buffer, i)
        return code, i + size
    if json:
        if c == BACKSLASH:
            return _json_escape(buffer, i)
        if c == QUOTE or c < SPACE:
            return INVALID, i + 1
    return c, i + 1


@compiled
def decoded_at(buffer: Any, i: Any, json: Any, fold: Any) -> Any:
    """(code or INVALID, behind) of the character at `i`, one level of escapes decoded."""
    code, behind = raw_at(buffer, i, json)
    if code == AMPERSAND:
        return _entity(buffer, behind, json, fold)
    if code == BACKSLASH:
        return _escape(buffer, behind, json)
    return code, behind


@compiled
def _entity(buffer: Any, i: Any, json: Any, fold: Any) -> Any:
    """The same of an entity whose "&" ended at `i`; the "&" itself where it begins none."""
    while True:
        code, k = raw_at(buffer, i, json)
        number: Any = 0
        if code == HASH:
            number, k = _entity_number(buffer, k, json)
        else:
            h, length = ENTITY_START, 0
            while length < LONGEST_ENTITY and (_letter(code) or 0x30 <= code <= 0x39):
                h = (h ^ np.uint64(code)) * ENTITY_PRIME
                length += 1
                code, k = raw_at(buffer, k, json)
            if length and code == SEMICOLON:
                mask = len(fold.names) - 1
                place = np.int64(h >> np.uint64(32)) & mask
                while fold.names[place] != 0 and fold.names[place] != h:
                    place = (place + 1) & mask
                number = int(fold.codes[place])
        if number == 0:
            return AMPERSAND, i
        if number != AMPERSAND:
            return number, k
        i = k  # "&amp;lt;" was escaped twice


@compiled
def _entity_number(buffer: Any, i: Any, json: Any) -> Any:
    """(code or 0, behind) of `#39;` or `#x27;` behind its "#"."""
    code, k = raw_at(buffer, i, json)
    base = 10
    if code & ~0x20 == 0x58:
        base = 16
        code, k = raw_at(buffer, k, json)
    number, digits = 0, 0
    while digits < 8:
        digit = _digit(code)
        if digit == INVALID or digit >= base:
            break
        number = number * base + digit
        digits += 1
        code, k = raw_at(buffer, k, json)
    if digits == 0 or code != SEMICOLON:
        return 0, k
    if number < SPACE or 0xD800 <= number < 0xE000 or number >= 0x110000:
        number = SPACE
    return number, k


@compiled
def _escape(buffer: Any, i: Any, json: Any) -> Any:
    """The same of an escape whose backslash ended at `i`; the backslash where it begins none.

    A run of backslashes is one, so that what was escaped again is still the same words.
    """
    code, k = raw_at(buffer, i, json)
    while code == BACKSLASH:
        i = k
        code, k = raw_at(buffer, i, json)
    if code in (LOWER_N, LOWER_R, LOWER_T):
        return LINE_END, k
    if code == APOSTROPHE:
        return APOSTROPHE, k
    if code in (LOWER_U, LOWER_X):
        number, behind = _escaped_number(buffer, k, json, 4 if code == LOWER_U else 2)
        if 0xD800 <= number < 0xDC00:
            code, k = raw_at(buffer, behind, json)
            low = INVALID
            while code == BACKSLASH:
                code, k = raw_at(buffer, k, json)
            if code == LOWER_U:
                low, k = _escaped_number(buffer, k, json, 4)
            if 0xDC00 <= low < 0xE000:
                return 0x10000 + ((number - 0xD800) << 10) + (low - 0xDC00), k
        if number != INVALID:
            return (SPACE if 0xD800 <= number < 0xE000 else number), behind
    return BACKSLASH, i


@compiled
def _escaped_number(buffer: Any, i: Any, json: Any, digits: int) -> Any:
    """(number or INVALID, behind) of this many hexadecimal digits of the text."""
    number, k = 0, i
    for _ in range(digits):
        code, k = raw_at(buffer, k, json)
        digit = _digit(code)
        if digit == INVALID:
            return INVALID, i
        number = number * 16 + digit
    return number, k


@compiled
def tag_end(buffer: Any, i: Any, json: Any, fold: Any, escaped: Any, plain: Any) -> Any:
    """(behind the tag or `i` if there is none, how far it looked) for a "<" that ended at `i`.

    A tag is a letter, "/", "!" or "?" and what follows up to ">" on the same line. A quoted value
    may hold a ">", but not where `plain`; `escaped`: a tag of `&lt;` and `&gt;`.
    """
    code, k = decoded_at(buffer, i, json, fold) if escaped else raw_at(buffer, i, json)
    if not (_letter(code) or code == SLASH or code == 0x21 or code == 0x3F):
        return i, i
    first, quote, before = i, 0, code
    while True:
        code, k = decoded_at(buffer, k, json, fold) if escaped else raw_at(buffer, k, json)
        if code < SPACE:
            return first, k
        if quote:
            if code == quote:
                quote = 0
            elif code == GREATER_THAN and first == i:
                first = k
        elif code == GREATER_THAN:
            return k, i
        elif code == LESS_THAN:
            return first, k
        elif before == EQUALS and (code in (QUOTE, APOSTROPHE)):
            quote = 0 if plain or escaped else code
        before = code


@compiled
def bare_tag_end(buffer: Any, i: Any, json: Any, fold: Any) -> Any:
    """Behind a tag without attributes whose "<", escaped or not, ended at `i`; `i` for others."""
    code, k = decoded_at(buffer, i, json, fold)
    if code == SLASH:
        code, k = decoded_at(buffer, k, json, fold)
    length = 0
    while length < LONGEST_NAME and (_letter(code) or (length and 0x30 <= code <= 0x39)):
        length += 1
        code, k = decoded_at(buffer, k, json, fold)
    if length == 0:
        return i
    while code in (SPACE, SLASH):
        code, k = decoded_at(buffer, k, json, fold)
    return k if code == GREATER_THAN else i
