"""One document's findings, judged, and the evidence that a report keeps of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from evaluation.contamination.blocks import Candidate
from evaluation.contamination.code import MOST
from evaluation.contamination.code import Found as Program
from evaluation.contamination.folding import Fold
from evaluation.contamination.index import Index
from evaluation.contamination.rules import HIGH, REVIEW
from evaluation.contamination.verify import findings_of
from evaluation.contamination.words import Words
from submissions.failures import Failure
from submissions.shards import OpenShard

CONTEXT = 200  # characters before and behind what was found


@dataclass(frozen=True)
class Match:
    """One document's findings, in the columns of `verify.judge`; its text is read when needed."""

    shard: str
    line: int
    json: bytes
    fold: Fold
    rows: list[list[int]]
    scores: list[list[float]]

    @cached_property
    def text(self) -> str:
        """Raises `not_json` where something beside the text is no JSON."""
        try:
            return str(orjson.loads(self.json)["text"])
        except orjson.JSONDecodeError as error:
            said = f"the line is not JSON: {error}"
            raise Failure("not_json", said, shard=self.shard, line=self.line) from None

    @cached_property
    def data(self) -> bytes:
        """The text as UTF-8, in which spans of words count."""
        return self.text.encode()

    @cached_property
    def words(self) -> Words:
        return Words(self.data, self.fold)


def match_of(candidate: Candidate, shard: OpenShard, index: Index) -> Match:
    """One document, judged."""
    rows, scores = findings_of(candidate.sums, candidate.found, index.units)
    return Match(
        shard.name, candidate.line, candidate.json, index.fold, rows.tolist(), scores.tolist()
    )


def program_severity(found: Program) -> int:
    """HIGH from half of the program on."""
    return HIGH if found.coverage >= MOST else REVIEW


def program_finding(line: int, text: str, found: Program) -> dict[str, Any]:
    """The evidence of a program with other names; `example_span` counts its tokens."""
    start, end = found.doc_span
    before = max(start - CONTEXT, 0)
    return {
        "example": found.example,
        "severity": program_severity(found),
        "line": line,
        "doc_span": [start, end],
        "part": "code",
        "example_span": list(found.example_span),
        "question_coverage": round(found.coverage, 3),
        "similarity": round(found.coverage, 3),
        "passage_coverage": 0.0,
        "answer_near": found.coverage >= MOST,
        "text": text[before : end + CONTEXT],
        "text_span": [start - before, end - before],
    }


def finding_of(match: Match, row: list[int], scores: list[float]) -> dict[str, Any]:
    """One piece of evidence; `example` is its number in the index, spans are [first, behind).

    `doc_span` counts characters of the document; `example_span` words of the example's question and
    answer, of its passage or, of code, tokens of the program, as `part` says. `text` is what was
    found with its context, in which `text_span` says where it stands.
    """
    example, severity, first, behind, unit_first, unit_behind, near, _ = row
    data = match.data
    # Words inside a tag follow all others, so the first word need not be the first in the text.
    spans = match.words.spans[first:behind]
    opening, closing = int(spans[:, 0].min()), int(spans[:, 1].max())
    start = len(data[:opening].decode())
    end = start + len(data[opening:closing].decode())
    before = max(start - CONTEXT, 0)
    by_passage = scores[0] == 0 and scores[2] > 0
    return {
        "example": example,
        "severity": severity,
        "line": match.line,
        "doc_span": [start, end],
        "part": "passage" if by_passage else "question",
        "example_span": [unit_first, unit_behind],
        "question_coverage": round(scores[0], 3),
        "similarity": round(scores[1], 3),
        "passage_coverage": round(scores[2], 3),
        "answer_near": bool(near),
        "text": match.text[before : end + CONTEXT],
        "text_span": [start - before, end - before],
    }
