"""Characters to words, and that the scanner of raw JSON sees the words of the text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest

from evaluation.contamination.folding import fold_table
from evaluation.contamination.grams import CommonGrams, gram_table
from evaluation.contamination.hits import grams_in, power, running_sums
from evaluation.contamination.reading import PADDING
from evaluation.contamination.scanner import Grams, scan_lines
from evaluation.contamination.words import KEY_LONG, KEY_SHORT, LONG, SHORT, Words


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
        ("<p>some <b>bold</b> words</p>", "some bold words p b b p"),
        ('<p class="x">some <i>words</i>', "some words p class x i i"),
        (
            '<row Id="7" Body="all of a &lt;b&gt;text&lt;/b&gt;" Answer="x > y" /> end',
            "end row id 7 body all of a text answer x y",
        ),
        ("some &lt;b&gt;bold&lt;/b&gt; words", "some bold words b b"),
        ("some \\u003cb\\u003ebold\\u003c/b\\u003e words", "some bold words b b"),
        ('<a title="never closed> and <b>so</b> on', "and so on a title never closed b b"),
        ("if a <b && c\nd> e", "if a b c d e"),
        ("don&#39;t &quot;caf&eacute;&quot; &#xFC;ber", "dont cafe uber"),
        ("a&amp;amp;quot;b &amp;lt;p&amp;gt;c", "a b c p"),
        (
            "R&D; &unknown; &#; &#x; &#xD800; &#9999999999; end",
            "r d unknown x xd800 9999999999 end".replace("xd800 ", ""),
        ),
        ('{\\"q\\": \\"What is\\\\nthe caf\\\\u00e9\\"}', "q what is the cafe"),
        (r"one\ntwo\tthree\r\nfour don\'t \x41b \ud835\udc00", "one two three four dont ab a"),
        (r"\nabla \\nabla \u12g \ud835 z", "abla abla u12g z"),
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
    text = 'Ä <b id="x&eacute;y">zwölf</b>, don’t 東京 &Uuml;x end'
    data = text.encode()
    found = [data[a:b].decode() for a, b in Words(data).spans.tolist()]
    outside = ["Ä", "zwölf", "don’t", "東", "京", "&Uuml;x", "end"]
    assert found == [*outside, "b", "id", "x&eacute;y", "b"]


def test_words_with_letters_are_told_from_numbers() -> None:
    assert Words("12 ab 3c ١٢ 東".encode()).letters.tolist() == [False, True, True, False, True]


PIECES = (
    "plain words here", "déjà vu", "東京", "\\", '"', "<b>", "</p>", "&amp;", "&", "<", ">", "\n",
    "\t", "’", "\u200b", "\U0001f600", "\U0001d400", "ﬁ", "x1", "-", "\u0000", "/", "<東",
    "<a href=\"q\">", "😀a", "ß", "ที่", "<\n>", "&#39;", "&quot", "\u2028",
    "&lt;", "&gt;", "&lt;i&gt;", "&amp;lt;", "&eacute;", "\\n", "\\u00e9", "\\'", "\\\\", "=", '="',
    "='", "'", "!", "don't", "`", "\\\\\\", "\\-", "\\\n", '\\"', "\\'t", "\\fBold",
    "\\x4", "\\ud835\\udc00", "\\ud835", "<row a=\"", ">", "&#x4e2d;", "<!--",
)  # fmt: skip
WRITERS: list[Callable[[str], bytes]] = [
    lambda text: orjson.dumps({"text": text}),
    lambda text: json.dumps({"text": text}).encode(),
    lambda text: json.dumps({"text": text}, ensure_ascii=False).encode(),
    lambda text: json.dumps({"id": [1, {"text": "no"}], "text": text, "z": "a\\"}).encode(),
    lambda text: json.dumps({"text": text}).replace("<", "\\u003c").replace("&", "\\u0026")
    .replace("/", "\\/").encode(),
]  # fmt: skip


def scanned(lines: bytes, grams: Grams) -> tuple[list[int], list[tuple[int, bytes, Any, Any]]]:
    """[lines, documents, where it stopped], and (line, JSON, sums, n-grams) of candidates."""
    buffer = np.frombuffer(lines + bytes(PADDING), np.uint8)
    sums, found = np.empty(len(lines) // 2, np.uint64), np.empty((len(lines), 2), np.int32)
    table = np.empty((8, 7), np.int64)
    read, documents, count, end = scan_lines(
        buffer, 0, len(lines), fold_table(), grams, sums, found, table
    )
    rows = [
        (line, lines[first:last], sums[spans[0] : spans[1]], found[spans[2] : spans[3]])
        for line, first, last, *spans in table[:count].tolist()
    ]
    return [read, documents, end], rows


def word(draw: random.Random) -> str:
    """Letters and digits of either case, mostly few."""
    length = draw.choice([1, 3, 5, 7, 8, 9, 16, 17, 63, 64, 65, 130])
    return "".join(draw.choices("abcXYZ019", k=length))


def table_of(key: np.uint64, words: npt.NDArray[np.uint64]) -> Grams:
    """The table of one n-gram of these words."""
    kept = CommonGrams(np.array([key]), *np.zeros((2, 1), np.int32), np.zeros(1, np.uint8))
    grams = gram_table(kept, words, np.zeros(1, np.int64)).grams
    for array in grams:
        array.flags.writeable = False
    return grams


@pytest.mark.parametrize("writer", range(len(WRITERS)))
def test_the_scanner_sees_the_words_of_the_text(writer: int) -> None:
    """Each n-gram of a text, looked for alone, is found in its JSON; that of another is not.

    The scanner then hands on the same words as are read from the text itself.
    """
    draw = random.Random(writer)
    for _ in range(300):
        # From nothing but what asks for a closer look to many plain words, some longer than 64.
        plain = draw.choice([0, 0.5, 0.95])
        text = "".join(
            (word(draw) if draw.random() < plain else draw.choice(PIECES)) + draw.choice(["", " "])
            for _ in range(25)
        )
        hashes = Words(text.encode()).hashes
        if len(hashes) < LONG:
            continue
        n = draw.choice([SHORT, LONG])
        at = draw.randrange(len(hashes) - n + 1)
        sums = running_sums(hashes)
        with np.errstate(over="ignore"):
            key = (sums[at + n] - sums[at] * power(n)) * (KEY_SHORT if n == SHORT else KEY_LONG)
        line = WRITERS[writer](text)
        for wanted in (True, False):
            grams = table_of(key if wanted else key + np.uint64(1), hashes[at : at + n])
            read, rows = scanned(b" \n" + line + b"\n" + line + b"\n", grams)
            assert read == [3, 2, 2 * len(line) + 4], line
            assert [row[:2] for row in rows] == [(1, line), (2, line)] * wanted, line
            for _, _, seen, found in rows:
                assert np.array_equal(seen, sums), line
                assert np.array_equal(found, grams_in(sums, grams)), line
                assert [0, at] in found.tolist()


@pytest.mark.parametrize("text", [rb"\q", rb"\u12g4", b"\xe9", rb"\ud83d", b"\t", b"x\\"])
def test_the_scanner_stops_at_what_json_does_not_allow(text: bytes) -> None:
    good = b'{"text": "one"}\n'
    bad = b'{"text": "' + text + b'"}\n'
    read, _ = scanned(good + bad + good, table_of(np.uint64(1), np.ones(LONG, np.uint64)))
    assert read == [1, 1, len(good)]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(bad)
