"""Programs that were renamed: n-grams of code tokens in which every name is the same.

Only for tasks that ask for a program. Names become one token, so that other variables hide nothing;
numbers and strings one each; comments and layout are left out. A run of 20 tokens is long enough
that ordinary programs do not share it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation.contamination.hits import running_sums, runs_of

RUN = 20  # tokens
MOST = 0.5  # of a program's tokens, from which its copy is one; less is a part
TOKEN = re.compile(
    r"(?P<comment>#[^\n]*|//[^\n]*|/\*.*?\*/)"
    r"|(?P<text>\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|(?P<number>\d[\w.]*)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>[-+*/%&|^=<>!]=|[-+&|*/<>=]{2}|->|[^\s\w])",
    re.DOTALL,
)
KEYWORDS = frozenset(
    """and as assert async await break case catch class const continue def del do elif else enum
    except finally fn for from func function global if import in int is lambda let match new not
    null or pass private public raise return static struct switch throw try var void while with
    yield True False None true false""".split()  # noqa: SIM905 - a word list reads better
)
SIGNS_OF_CODE = re.compile(r"[(){}\[\];=]")
FEWEST_SIGNS = 0.02  # signs of code for each character of a text that may be code


class Programs(NamedTuple):
    """The programs of an index: keys of their n-grams, ascending, with example and token of each;
    and how many tokens each example's program has, by example (0 for none)."""

    keys: npt.NDArray[np.uint64]
    example: npt.NDArray[np.int32]
    token: npt.NDArray[np.int32]
    tokens: npt.NDArray[np.int32]


class Found(NamedTuple):
    """A program in a document: share of its tokens, and where: characters, and its own tokens."""

    example: int
    coverage: float
    doc_span: tuple[int, int]
    example_span: tuple[int, int]


def programs_of(texts: Sequence[str]) -> Programs:
    """Of each example's program; "" where it has none."""
    keys, examples, places = [], [], []
    tokens = np.zeros(len(texts), np.int32)
    for example, text in enumerate(texts):
        found = _runs(text)[0] if text else np.empty(0, np.uint64)
        if len(found):
            tokens[example] = len(found) + RUN - 1
            keys.append(found)
            examples.append(np.full(len(found), example, np.int32))
            places.append(np.arange(len(found), dtype=np.int32))
    if not keys:
        none = np.empty(0, np.int32)
        return Programs(np.empty(0, np.uint64), none, none, tokens)
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return Programs(
        joined[order], np.concatenate(examples)[order], np.concatenate(places)[order], tokens
    )


def looks_like_code(text: str) -> bool:
    """Whether there are enough signs to make looking closer worth it."""
    return len(SIGNS_OF_CODE.findall(text)) >= FEWEST_SIGNS * len(text)


def programs_in(text: str, programs: Programs) -> Iterator[Found]:
    """Every program of which a run stands in the text."""
    runs, spans = _runs(text)
    first = np.searchsorted(programs.keys, runs, side="left")
    behind = np.searchsorted(programs.keys, runs, side="right")
    hits: dict[int, list[tuple[int, int]]] = {}
    for place in np.flatnonzero(behind > first).tolist():
        for entry in range(first[place], behind[place]):
            hits.setdefault(int(programs.example[entry]), []).append(
                (place, int(programs.token[entry]))
            )
    for example, pairs in sorted(hits.items()):
        covered = {token + k for _, token in pairs for k in range(RUN)}
        places = [place for place, _ in pairs]
        yield Found(
            example,
            len(covered) / int(programs.tokens[example]),
            (spans[min(places)][0], spans[max(places) + RUN - 1][1]),
            (min(covered), max(covered) + 1),
        )


def _runs(text: str) -> tuple[npt.NDArray[np.uint64], list[tuple[int, int]]]:
    """The hash of every RUN tokens, and where each token stands."""
    hashes, spans = [], []
    for match in TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "comment" or (kind == "text" and match[0][:3] in ('"""', "'''")):
            continue
        word = match[0] if kind == "sign" or match[0] in KEYWORDS else str(kind)
        hashes.append(_hash(word))
        spans.append(match.span())
    sums = running_sums(np.array(hashes, np.uint64))
    return runs_of(sums, RUN), spans


@cache
def _hash(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "little")
