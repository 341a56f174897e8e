"""The codec: mistakes in plain English with their place, bounds, and what JSON does not have."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import pytest

from submissions.codec import (
    MisfitError,
    convert,
    convert_or_misfit,
    decode,
    decode_or_misfit,
    encode,
    read,
    to_json,
)
from submissions.failures import Failure


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: int


class Row(msgspec.Struct, frozen=True):
    shots: int
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    word: Annotated[str, msgspec.Meta(min_length=1, max_length=3)] = "abc"
    colour: Colour | None = None
    point: Point | None = None
    even: int = 0

    def __post_init__(self) -> None:
        if self.even % 2:
            raise ValueError("what is even must be even")


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tasks: list[Row]
    by_name: dict[str, Row] = {}


def refused(data: bytes, kind: Any = Suite, **named: Any) -> str:
    with pytest.raises(Failure) as caught:
        decode(kind, data, code="suite_invalid", where="suite.json", **named)
    assert caught.value.code == "suite_invalid"
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"shots": "3"}, "tasks[1].shots is a string, not a whole number"),
        ({"shots": 2.5}, "tasks[1].shots is a number with a decimal point, not a whole number"),
        ({"shots": True}, "tasks[1].shots is a truth value, not a whole number"),
        ({"shots": None}, "tasks[1].shots is null, not a whole number"),
        ({}, 'tasks[1] has no "shots"'),
        ({"shots": 1, "share": "a"}, "tasks[1].share is a string, not a number"),
        ({"shots": 1, "share": 0}, "tasks[1].share must be above 0"),
        ({"shots": 1, "share": 1.5}, "tasks[1].share must be at most 1"),
        ({"shots": 1, "word": ""}, "tasks[1].word must have at least 1 character"),
        ({"shots": 1, "word": "abcd"}, "tasks[1].word must have at most 3 characters"),
        ({"shots": 1, "colour": "blue"}, "tasks[1].colour has the unknown value 'blue'"),
        ({"shots": 1, "point": {"x": []}}, "tasks[1].point.x is a list, not a whole number"),
        ({"shots": 1, "point": 3}, "tasks[1].point is a whole number, not an object or null"),
        ({"shots": 1, "even": 3}, "tasks[1]: what is even must be even"),
        ([], "tasks[1] is a list, not an object"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(row: Any, said: str) -> None:
    document = {"tasks": [{"shots": 0}, row]}
    assert refused(json.dumps(document).encode()) == f"suite.json: {said}"
    with pytest.raises(Failure) as caught:
        convert(Suite, document, code="suite_invalid", where="suite.json")
    assert caught.value.message == f"suite.json: {said}"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[]", "suite.json is a list, not an object"),
        (b"{}", 'suite.json has no "tasks"'),
        (b'{"tasks": [], "x": 1}', 'suite.json has the unknown key "x"'),
        (b'{"tasks": [], "by_name": {"a": {}}}', 'suite.json: by_name[…] has no "shots"'),
        (b"", "suite.json is not JSON: it is empty"),
        (b'{"tasks": [', "suite.json is not JSON: its end is missing"),
        (b'{"tasks":\n [],}', "suite.json is not JSON: trailing comma in object at line 2, co"),
        (b'{"tasks": [{"shots": NaN}]}', "suite.json is not JSON: NaN is no number"),
        (b'{"tasks": [{"share": -Infinity}]}', "suite.json is not JSON: Infinity is no number"),
        (b'{"tasks": [{"shots": 1, "word": "\xff"}]}', "suite.json is not JSON: it is not UTF-8"),
        (b'{"tasks": [{"shots": 1, "share": 1e999}]}', "tasks[0].share is a number that is too"),
        (b"\xef\xbb\xbf{}", "suite.json is not JSON: invalid character at line 1, column 1"),
    ],
)
def test_what_is_no_such_document(data: bytes, said: str) -> None:
    assert said in refused(data)


@pytest.mark.parametrize("kind", [Suite, dict[str, Any], dict[str, msgspec.Raw], Any])
@pytest.mark.parametrize("opening", [b'{"tasks":', b"["])
def test_depth_is_bounded_whatever_is_looked_for(kind: Any, opening: bytes) -> None:
    depth = 100_000
    data = opening * depth + b"1" + (b"}" if opening != b"[" else b"]") * depth
    assert refused(data, kind).startswith("suite.json")


def test_size_is_bounded_and_no_more_is_read(tmp_path: Path) -> None:
    data = b'{"tasks": []}'
    assert decode(Suite, data, code="suite_invalid", where="x", limit=len(data)).tasks == []
    assert refused(data, limit=len(data) - 1) == "suite.json is larger than 12 bytes"
    with pytest.raises(Failure, match=r"/dev/zero is larger than 3 MiB"):
        read(Suite, Path("/dev/zero"), code="suite_invalid", where="/dev/zero", limit=3 * 2**20)
    with pytest.raises(Failure, match=r"gone\.json: no such file or directory"):
        read(Suite, tmp_path / "gone.json", code="suite_invalid")


def test_a_value_comes_back_from_its_json() -> None:
    suite = Suite([Row(1, colour=Colour.RED, point=Point(3))], {"a": Row(2)})
    assert decode(Suite, encode(suite), code="suite_invalid", where="it") == suite
    assert convert(Suite, to_json(suite), code="suite_invalid", where="it") == suite
    assert to_json(suite)["tasks"][0]["colour"] == "red"
    assert json.loads(encode({1: Path("a").name, "rest": (1, 2)})) == {"1": "a", "rest": [1, 2]}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(Row(1, number))
    with pytest.raises(TypeError):
        encode({"a": object()})


def test_without_a_failure_a_misfit_is_a_value_error() -> None:
    for misfit in (lambda: decode_or_misfit(Row, b"{}"), lambda: convert_or_misfit(Row, {})):
        with pytest.raises(MisfitError) as caught:
            misfit()
        assert caught.value.message_for("a row") == 'a row has no "shots"'


def test_numbers_and_strings_of_other_kinds_are_written_as_what_they_are():
    """As libraries return them: a float64 is a float, and torch's version a string."""

    class Version(str):
        pass

    class Count(int):
        pass

    value = {"loss": np.float64(0.5), "torch": Version("2.13"), "n": [Count(3)]}
    assert encode(value) == encode({"loss": 0.5, "torch": "2.13", "n": [3]})
    with pytest.raises(TypeError, match="object is no data"):
        encode({"it": object()})
