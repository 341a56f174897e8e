"""The one codec: JSON to validated types and back, with one clear sentence for each mistake.

A type is a frozen `msgspec.Struct`, a dataclass or a plain annotation. What others wrote is
hostile: bytes are bounded, deep nesting is a failure like any other, NaN and Infinity are no
numbers. A type says itself whether it forbids unknown keys; a rule that no annotation can say
stands in its `__post_init__` as a ValueError with a whole sentence.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from submissions.failures import Failure

T = TypeVar("T")
MAX_BYTES = 64 * 2**20  # of one document, where its reader sets no narrower bound

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "a truth value",
    "null": "null",
    "object": "an object",
    "array": "a list",
}
_BOUNDS = {"<=": "at most", "<": "below", ">=": "at least", ">": "above"}
_PLACE = re.compile(r"^(?P<said>.*?)(?: - at `(?P<place>[^`]*)`)?$", re.DOTALL)
_KIND = re.compile(r"Expected `(.+)`, got `(.+)`")
_BOUND = re.compile(r"Expected `(?:int|float)` (<=|<|>=|>) (.+)")
_LENGTH = re.compile(r"Expected `(\w+)` of length (<=|>=) (\d+)")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
_ENUM = re.compile(r"Invalid enum value (.+)", re.DOTALL)
_BYTE = re.compile(r"^JSON is malformed: (?P<said>.+) \(byte (?P<byte>\d+)\)$")
_NO_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")


class MisfitError(ValueError):
    """What is wrong with a document, and the place in it (empty: the whole).

    `said` goes on a sentence about the place ("is a string, not a number"), or is one where
    `whole` says so.
    """

    def __init__(self, place: str, said: str, whole: bool = False) -> None:
        super().__init__(place, said, whole)
        self.place, self.said, self.whole = place, said, whole

    def message_for(self, where: str) -> str:
        """The sentence about a document of that name."""
        if not self.place:
            return f"{where}: {self.said}" if self.whole else f"{where} {self.said}"
        return f"{where}: {self.place}{':' if self.whole else ''} {self.said}"


def decode(
    kind: type[T], data: bytes | msgspec.Raw, *, code: str, where: str, limit: int = MAX_BYTES
) -> T:
    """The JSON text `data` as a `kind`; raises `code` with what is wrong, and where in it.

    `where` names the document in that sentence: "mixture.json: sources[0].weight is a string, not
    a number". `limit` is in bytes.
    """
    try:
        return decode_or_misfit(kind, data, limit)
    except MisfitError as misfit:
        raise Failure(code, misfit.message_for(where)) from None


def read(
    kind: type[T], path: Path, *, code: str, where: str | None = None, limit: int = MAX_BYTES
) -> T:
    """`decode` of a file, of which no more than the limit is read; `code` too where it cannot be.

    In the sentence the file goes by its name unless `where` names it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise Failure(code, f"{where or path}: {reason}") from None
    return decode(kind, data, code=code, where=where or path.name, limit=limit)


def convert(kind: type[T], value: Any, *, code: str, where: str) -> T:
    """The same for already parsed data: TOML, or JSON from a database."""
    try:
        return convert_or_misfit(kind, value)
    except MisfitError as misfit:
        raise Failure(code, misfit.message_for(where)) from None


def decode_or_misfit(kind: type[T], data: bytes | msgspec.Raw, limit: int = MAX_BYTES) -> T:
    """`decode` for callers without a failure code: raises `MisfitError`."""
    data = bytes(data)
    if len(data) > limit:
        raise MisfitError("", f"is larger than {_size(limit)}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _misfit(error, data) from None


def convert_or_misfit(kind: type[T], value: Any) -> T:
    """`convert` for callers without a failure code: raises `MisfitError`."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _misfit(error, b"") from None


def encode(value: Any) -> bytes:
    """JSON of a value and all that it holds, for programs and people: one entry a line.

    Raises ValueError for a number that JSON does not have, and TypeError for what is no data.
    """
    return json.dumps(to_json(value), indent=1, allow_nan=False).encode()


def encode_line(value: Any) -> bytes:
    """JSON of a value on one line, without fields that are empty, and a line end."""
    fields = {k: v for k, v in to_json(value).items() if v not in ("", None)}
    return json.dumps(fields, allow_nan=False).encode() + b"\n"


def to_json(value: Any) -> Any:
    """The value as dicts, lists or tuples, strings, numbers, truth values and None."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_plain)


def _plain(value: Any) -> Any:
    """A number or string of a subclass, such as NumPy's float64 or a version of torch."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__name__} is no data")


def _misfit(error: Exception, data: bytes) -> MisfitError:
    """The library's message in plain English."""
    if isinstance(error, RecursionError):
        return MisfitError("", "is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return MisfitError("", f"is not JSON: {_malformed(error, data)}")
    found = _PLACE.match(str(error))
    assert found is not None  # every text matches
    place = (found["place"] or "$").removeprefix("$").removeprefix(".").replace("...", "…")
    said = _predicate(found["said"])
    return MisfitError(place, said or found["said"], whole=said is None)


def _predicate(said: str) -> str | None:
    """What the library says of one place, as the rest of a sentence; None for a type's own rule."""
    if found := _KIND.fullmatch(said):
        # A number where a whole one is wanted must differ from it.
        got = "a number with a decimal point" if found[2] == "float" else _words(found[2])
        return f"is {got}, not {_words(found[1])}"
    if found := _BOUND.fullmatch(said):
        return f"must be {_BOUNDS[found[1]]} {found[2].removesuffix('.0')}"
    if found := _LENGTH.fullmatch(said):
        unit = "character" if found[1] == "str" else "element"
        return f"must have {_BOUNDS[found[2]]} {found[3]} {unit}{'' if found[3] == '1' else 's'}"
    if found := _MISSING.fullmatch(said):
        return f'has no "{found[1]}"'
    if found := _UNKNOWN.fullmatch(said):
        return f'has the unknown key "{found[1]}"'
    if found := _ENUM.fullmatch(said):
        return f"has the unknown value {found[1][:100]}"
    if said == "Number out of range":
        return "is a number that is too large"
    return None


def _words(names: str) -> str:
    """The library's names of types, as "`int | null`", in words."""
    kinds = names.split(" | ")
    return " or ".join(
        _WORDS.get(kind, kind) for kind in kinds if kind != "int" or "float" not in kinds
    )


def _malformed(error: Exception, data: bytes) -> str:
    """Why a text is no JSON, with the line and column, from 1, where that shows."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if number := _NO_NUMBER.search(data):
        return f"{number[1].decode()} is no number"
    if found := _BYTE.match(str(error)):
        before = data[: int(found["byte"])]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        return f"{found['said']} at line {line}, column {column}"
    if not data.strip():
        return "it is empty"
    return "its end is missing" if "truncated" in str(error) else "a number or text is damaged"


def _size(limit: int) -> str:
    return f"{limit // 2**20} MiB" if limit >= 2**20 else f"{limit:,} bytes"
