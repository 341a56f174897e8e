"""Characters to words, and that the scanner of raw JSON sees the words of the text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import orjson
import pytest

from evaluation.contamination.folding import fold_table
from evaluation.contamination.scanner import scan_lines
from evaluation.contamination.words import LONG, SHORT, Words, padded


def words(text: str) -> list[int]:
    return list(Words(text.encode()).hashes.tolist())


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Don’t STOP, re-use!", "dont stop re use"),
        ("ﬁne coﬀee", "fine coffee"),
        ("Ｆｕｌｌ ｗｉｄｔｈ １２３", "full width 123"),
        ("cafe\u0301 naïve Ångström", "cafe naive angstrom"),
        ("soft\u00adhyphen zero\u200bwidth no\u00a0break", "softhyphen zerowidth no break"),
        ("> quoted line\n> goes on", "quoted line goes on"),
        ("| a table | with cells |\n* and a list", "a table with cells and a list"),
        ('<p class="x">some <b>bold</b> words</p>', "some bold words"),
        ("this &amp; that&nbsp;too &#39;here&#39;", "this that too here"),
        (r"\frac{x}{2} + \alpha_1", "frac x 2 alpha 1"),
        ("раураl", "paypal"),  # Cyrillic letters that look like Latin ones
        ("straße ß", "strasse ss"),
        ("\u0928\u092e\u0938\u094d\u0924\u0947", "\u0928\u092e\u0938\u0924"),
        ("\u1100\u1161 \uac00", "\uac00 \uac00"),  # Hangul, decomposed and not
        ("smile \U0001f600 now", "smile now"),
        ("\U0001d400\U0001d401c", "abc"),  # mathematical bold letters
        ("a<b and c > d", "a<b and c > d"),
        ("１０ kΩ", "10 kω"),
    ],
)
def test_what_is_written_differently_is_the_same(written: str, plain: str) -> None:
    assert words(written) == words(plain)


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), (" \n\t", 0), ("one", 1), ("東京は", 3), ("ไทย", 3), ("の2本", 3), ("naïve 東x", 3),
     ("...!?", 0), ("\U00020000\U00020001", 2), ("a b c", 3), ("3 < 4 and 5 > 2", 5)],
)  # fmt: skip
def test_words_are_counted(text: str, count: int) -> None:
    assert len(words(text)) == count


def test_spans_are_bytes_of_the_text() -> None:
    text = "Ä <b>zwölf</b>, don’t 東京 end"
    data = text.encode()
    found = [data[a:b].decode() for a, b in Words(data).spans.tolist()]
    assert found == ["Ä", "zwölf", "don’t", "東", "京", "end"]


def test_words_with_letters_are_told_from_numbers() -> None:
    assert Words("12 ab 3c ١٢ 東".encode()).letters.tolist() == [False, True, True, False, True]


PIECES = (
    "plain words here", "déjà vu", "東京", "\\", '"', "<b>", "</p>", "&amp;", "&", "<", ">", "\n",
    "\t", "’", "\u200b", "\U0001f600", "\U0001d400", "ﬁ", "x1", "-", "\u0000", "/", "<東",
    "<a href=\"q\">", "😀a", "ß", "ที่", "<\n>", "&#39;", "&quot", "\u2028",
)  # fmt: skip
WRITERS: list[Callable[[str], bytes]] = [
    lambda text: orjson.dumps({"text": text}),
    lambda text: json.dumps({"text": text}).encode(),
    lambda text: json.dumps({"text": text}, ensure_ascii=False).encode(),
    lambda text: json.dumps({"id": [1, {"text": "no"}], "text": text, "z": "a\\"}).encode(),
    lambda text: json.dumps({"text": text}).replace("<", "\\u003c").replace("&", "\\u0026")
    .replace("/", "\\/").encode(),
]  # fmt: skip


@pytest.mark.parametrize("writer", range(len(WRITERS)))
def test_the_scanner_sees_the_words_of_the_text(writer: int) -> None:
    """Each n-gram of a text, looked for alone, is found in its JSON; that of another is not."""
    from evaluation.contamination.grams import CommonGrams, gram_table
    from evaluation.contamination.hits import power, running_sums
    from evaluation.contamination.words import KEY_LONG, KEY_SHORT

    draw = random.Random(writer)
    table = np.empty((8, 3), np.int64)
    for _ in range(150):
        text = "".join(draw.choice(PIECES) + draw.choice(["", " "]) for _ in range(25))
        hashes = Words(text.encode()).hashes
        if len(hashes) < LONG:
            continue
        n = draw.choice([SHORT, LONG])
        at = draw.randrange(len(hashes) - n + 1)
        sums = running_sums(hashes)
        with np.errstate(over="ignore"):
            key = (sums[at + n] - sums[at] * power(n)) * (KEY_SHORT if n == SHORT else KEY_LONG)
            for wanted in (True, False):
                keys = np.array([key if wanted else key + np.uint64(1)], np.uint64)
                kept = CommonGrams(keys, np.zeros(1, np.int32), np.zeros(1, np.int32), hashes)
                grams = gram_table(kept, np.array([n], np.uint8)).grams
                for array in grams:
                    array.flags.writeable = False
                line = WRITERS[writer](text) + b"\n"
                lines, documents, found, end = scan_lines(
                    padded(line), len(line), fold_table(), grams, table
                )
                assert (lines, documents, end) == (1, 1, len(line)), line
                assert found == wanted, line
