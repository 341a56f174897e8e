"""Judges one document, compiled: which examples stand in it, where, how much of them.

An n-gram that is found leads to the examples and passages that hold it (units). For each the
stretch of the document with most of the unit is looked for; then how alike question and stretch
are, whether an answer is near, and what the rules make of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.contamination.compiling import compiled
from evaluation.contamination.hits import Units, hits_of, power
from evaluation.contamination.rules import (
    HIGH,
    NOTHING,
    PART,
    PASSAGE,
    PASSAGE_COVERAGE,
    REVIEW,
    severity_of,
)
from evaluation.contamination.words import BASE, LONG

ANSWER_WINDOW = 50  # words before and behind the question in which an answer is near
FEWEST_ASKED = 5  # words of a question that can be found by itself
STRONG_ANSWER = 4  # words of an answer that, with a passage, stands for a question all tasks ask
WEAK_WINDOW = 4  # the same behind the question for yes, no, a letter or a number: they are common
LONG_ANSWER = 6  # words; a longer answer needs only be alike
ALIKE, ALMOST_ALL = 0.7, 0.8
LONGEST_COMPARED = 400  # words of a question; of a longer one enough n-grams remain
FEW = 3  # places of an n-gram in all examples: one that is asked in several tasks
ROW, SCORES = 8, 3  # columns of a finding
# A short question is a sentence that anybody may write; several in one document are a test.
SHORT_WORDS, TOGETHER = 8, 3
# One that says less than so many average words (content.py) is what many texts say.
LEAST_CONTENT = 5
# As typed numbers: for a literal argument Numba compiles a function once more.
PUT, TAKE, SURE = np.int64(1), np.int64(-1), np.bool_(True)


@compiled
def _mark(marks: Any, word: Any, n: Any, asked: Any, step: Any) -> Any:
    """Adds a hit's words to `marks` (or takes them away); how much is won or lost by it.

    A word of the question, which the first `asked` are, counts more than all of its answer.
    """
    changed = 0
    for k in range(word, word + n):
        before = marks[k]
        marks[k] += step
        if before == 0 or marks[k] == 0:
            changed += step * (len(marks) if k < asked else 1)
    return changed


@compiled
def _best_stretch(hits: Any, begin: Any, end: Any, n: Any, length: Any, asked: Any) -> Any:
    """(first hit, behind the last hit, marks of the words found) of the best stretch.

    `hits[begin:end]` are those of one unit, by place in the document; a stretch of it is little
    longer than the unit.
    """
    reach = length + max(20, length // 2)
    marks = np.zeros(length, np.int32)
    best, first, behind = 0, begin, begin
    left, covered = begin, 0
    for right in range(begin, end):
        covered += _mark(marks, hits[right, 1], n, asked, PUT)
        while hits[right, 2] + n - hits[left, 2] > reach:
            covered += _mark(marks, hits[left, 1], n, asked, TAKE)
            left += 1
        if covered > best or behind == begin:
            best, first, behind = covered, left, right + 1
    for k in range(length):
        marks[k] = 0
    for k in range(first, behind):
        _mark(marks, hits[k, 1], n, asked, PUT)
    return first, behind, marks


@compiled
def _found(marks: Any, limit: Any) -> Any:
    """How many of the first words are marked."""
    count = 0
    for k in range(limit):
        count += marks[k] > 0
    return count


@compiled
def _common(a: Any, b: Any) -> Any:
    """Length of the longest common subsequence of words."""
    row = np.zeros(len(b) + 1, np.int32)
    for word in a:
        diagonal = 0
        for k in range(len(b)):
            above = row[k + 1]
            row[k + 1] = diagonal + 1 if word == b[k] else max(above, row[k])
            diagonal = above
    return row[len(b)]


@compiled
def _longest_run(marks: Any) -> Any:
    best = run = 0
    for mark in marks:
        run = run + 1 if mark else 0
        best = max(best, run)
    return best


@compiled
def _words(sums: Any, start: int, end: int) -> Any:
    """The hashes of the document's words from `start` to `end`, as far as it has them."""
    start, end = max(start, 0), min(end, len(sums) - 1)
    hashes = np.empty(max(end - start, 0), np.uint64)
    for k in range(len(hashes)):
        hashes[k] = sums[start + k + 1] - sums[start + k] * BASE
    return hashes


@compiled
def _similarity(unit: int, start: int, end: int, sums: Any, units: Any) -> Any:
    """Share of the question's words that stand in order in the document from `start` to `end`."""
    first, length = units.first_word[unit], np.int64(units.question[unit])
    if len(units.words) == 0 or length > LONGEST_COMPARED:
        return 0.0
    asked = np.empty(length, np.uint64)
    count = 0
    for k in range(first, first + length):
        if units.covered[k]:
            asked[count] = units.words[k]
            count += 1
    return _common(asked[:count], _words(sums, start, end)) / max(count, 1)


@compiled
def _stands(sums: Any, key: Any, n: int, start: int, end: int) -> Any:
    """Whether these words stand unbroken between two words of the document."""
    factor = power(n)
    for k in range(max(start, 0), min(end, len(sums) - 1) - n + 1):
        if sums[k + n] - sums[k] * factor == key:
            return True
    return False


@compiled
def _answer_near(unit: int, start: int, end: int, sums: Any, units: Any) -> Any:
    """Whether one of the example's answers stands before `start` or behind `end`."""
    pace = units.pace[unit]
    for k in range(units.first_answer[unit], units.first_answer[unit + 1]):
        words = np.int64(units.answer_words[k])
        key = units.answer_key[k]
        if words == 0:
            continue
        if units.answer_weak[k]:
            if _stands(sums, key, words, end, end + np.int64(WEAK_WINDOW / pace) + words):
                return True
            continue
        reach = np.int64(ANSWER_WINDOW / pace) + words
        # Between a question and its answer other choices may stand.
        ahead = end + reach + units.choices[unit]
        if _stands(sums, key, words, end, ahead):
            return True
        if _stands(sums, key, words, start - reach, start):
            return True
        if words * pace > LONG_ANSWER and len(units.words):
            place = units.answer_place[k]
            answer = units.answer_hashes[place : place + words]
            behind, before = _words(sums, end, ahead), _words(sums, start - reach, start)
            if max(_common(answer, behind), _common(answer, before)) >= ALIKE * words:
                return True
    return False


@compiled
def judge(hits: Any, sums: Any, units: Any, rows: Any, scores: Any) -> Any:
    """Writes the findings of a document; returns how many there are.

    `hits` as `hits_of` gives them, sorted by unit; `sums` of the document's words.
    `rows` [any, 8] int64: example, severity, first and behind the last word in the document, the
    same in the unit, answer near, words that were looked for. `scores` [any, 3] float64: coverage,
    similarity, the passage's coverage. More findings than rows are counted, not written.
    """
    examples = len(units.question)
    starts = _starts(hits)
    # Passages stand behind the examples, and examples ask for them.
    passages = _passages(hits, starts, units)
    written = 0
    for g in range(len(starts) - 1):
        if hits[starts[g], 0] >= examples:
            break
        written += _judge_example(hits, starts[g], starts[g + 1], passages, sums, units,
                                  rows[written:], scores[written:])  # fmt: skip
    graver = min(written, len(rows))
    _doubt_short_ones(rows, scores, graver, units)
    for p in range(len(passages)):
        number = np.int64(passages[p, 0])
        for k in range(units.first_example[number], units.first_example[number + 1]):
            example = np.int64(units.passage_examples[k])
            if not _among(example, rows, graver):
                if written < len(rows):
                    _write_passage(example, passages[p], hits, sums, units, rows[written],
                                   scores[written])  # fmt: skip
                written += 1
    return written


@compiled
def _starts(hits: Any) -> Any:
    """Where the hits of each unit begin; one more at the end."""
    starts = np.empty(len(hits) + 1, np.int64)
    count = 0
    for k in range(len(hits)):
        if k == 0 or hits[k, 0] != hits[k - 1, 0]:
            starts[count] = k
            count += 1
    starts[count] = len(hits)
    return starts[: count + 1]


@compiled
def _passages(hits: Any, starts: Any, units: Any) -> Any:
    """[found, 6] float64: number, coverage, and the stretch: first hit, behind the last hit, first
    word, behind the last word."""
    examples = len(units.question)
    found = np.empty((len(starts) - 1, 6), np.float64)
    passages = 0
    for g in range(len(starts) - 1):
        unit = hits[starts[g], 0]
        if unit < examples:
            continue
        place, length = units.first_word[unit], units.first_word[unit + 1] - units.first_word[unit]
        n = np.int64(units.n[unit])
        first, behind, marks = _best_stretch(hits, starts[g], starts[g + 1], n, length, length)
        coverage = _found(marks, length) / max(1, _covered(units.covered, place, place + length))
        if coverage >= PASSAGE_COVERAGE:
            found[passages, 0], found[passages, 1] = unit - examples, coverage
            found[passages, 2], found[passages, 3] = first, behind
            found[passages, 4], found[passages, 5] = hits[first, 2], hits[behind - 1, 2] + LONG
            passages += 1
    return found[:passages]


@compiled
def _covered(covered: Any, start: Any, end: Any) -> Any:
    """How many of these words any n-gram of the index covers."""
    count = 0
    for k in range(start, end):
        count += covered[k]
    return count


@compiled
def _doubt_short_ones(rows: Any, scores: Any, count: Any, units: Any) -> None:
    """Fewer than TOGETHER short questions in a document may be chance: REVIEW, or NOTHING where
    they say little and the passage does not stand there either."""
    short = 0
    for k in range(count):
        short += rows[k, 7] < SHORT_WORDS
    if short >= TOGETHER:
        return
    for k in range(count):
        if rows[k, 7] < SHORT_WORDS:
            says = units.content[rows[k, 0], rows[k, 6]]
            little = says < LEAST_CONTENT and scores[k, 2] == 0
            rows[k, 1] = NOTHING if little else max(rows[k, 1], REVIEW)


@compiled
def _among(example: Any, rows: Any, count: Any) -> Any:
    for k in range(count):  # noqa: SIM110 - compiled
        if rows[k, 0] == example and rows[k, 1] != NOTHING:
            return True
    return False


@compiled
def _judge_example(
    hits: Any, begin: Any, behind_all: Any, passages: Any, sums: Any, units: Any,
    rows: Any, scores: Any,
) -> Any:  # fmt: skip
    """Writes the finding of one example, as first of these rows, and returns 1; 0 if it is none."""
    unit = hits[begin, 0]
    n = np.int64(units.n[unit])
    asked, answer = np.int64(units.question[unit]), np.int64(units.answer[unit])
    place = units.first_word[unit]
    count = _covered(units.covered, place, place + asked)
    first, behind, marks = _best_stretch(hits, begin, behind_all, n, asked + answer, asked)
    coverage = _found(marks, asked) / count if count else 0.0
    pace = units.pace[unit]
    words, answer_words, run = count * pace, answer * pace, _longest_run(marks) * pace
    rare = 0
    for k in range(first, behind):
        rare += hits[k, 3] <= FEW
    own = rare > PART - n  # as many n-grams as an unbroken part has
    # Most examples share a phrase with the document and no more: not worth comparing words.
    if severity_of(words, answer_words, coverage, 1.0, run, SURE, SURE, SURE, own) == NOTHING:
        return 0
    start = max(hits[first, 2] - hits[first, 1], 0)
    last_unit, last = hits[behind - 1, 1], hits[behind - 1, 2]
    end = min(max(last + asked - last_unit, last), len(sums) - 1)
    passage, inside = 0.0, False
    for k in range(len(passages)):
        if passages[k, 0] == units.passage[unit]:
            passage = passages[k, 1]
            inside = passages[k, 4] <= hits[first, 2] and last + n <= passages[k, 5]
    near = answer > 0
    for k in range(asked, asked + answer):
        near = near and marks[k] > 0
    near = near or _answer_near(unit, start, end, sums, units)
    similarity = coverage
    if coverage < ALMOST_ALL and words >= SHORT_WORDS:
        if severity_of(words, answer_words, coverage, 1.0, run, near, SURE, SURE, own) == NOTHING:
            return 0
        slack = asked // 4 + 5
        # The stretch of the question as its first hit places it, and as its last one does.
        stop = min(max(end, start + asked) + slack, len(sums) - 1)
        similarity = max(coverage, _similarity(unit, max(start - slack, 0), stop, sums, units))
    stands = passage > 0 if units.passage[unit] >= 0 else near
    severity = severity_of(words, answer_words, coverage, similarity, run, near,
                           units.alone[unit] > 0, stands, own)  # fmt: skip
    # A question takes up words of its passage, which are no part of the question there.
    if severity == NOTHING or (severity == REVIEW and inside):
        return 0
    if len(rows):
        row = rows[0]
        row[0], row[1], row[2], row[3] = unit, severity, hits[first, 2], last + n
        row[4], row[5], row[6] = hits[first, 1], last_unit + n, near
        whole = _longest_run(marks) == asked + answer
        row[7] = np.int64((asked + answer) * pace if whole else words)
        scores[0, 0], scores[0, 1], scores[0, 2] = coverage, similarity, passage
    return 1


@compiled
def _write_passage(
    example: Any, passage: Any, hits: Any, sums: Any, units: Any, row: Any,
    scores: Any,
) -> None:  # fmt: skip
    """Writes the finding of a passage without its question.

    Where so many examples ask the same that the index dropped all but few words of the question,
    the passage and a long answer behind it are the question and its answer.
    """
    unit = len(units.question) + np.int64(passage[0])
    length = units.first_word[unit + 1] - units.first_word[unit]
    first, last = np.int64(passage[2]), np.int64(passage[3]) - 1
    row[0], row[1], row[2], row[3] = example, PASSAGE, hits[first, 2], hits[last, 2] + LONG
    row[4], row[5], row[6], row[7] = hits[first, 1], hits[last, 1] + LONG, 0, 0
    scores[0], scores[1], scores[2] = 0.0, 0.0, passage[1]
    asked, place = np.int64(units.question[example]), units.first_word[example]
    if passage[1] < ALMOST_ALL or units.answer[example] * units.pace[example] < STRONG_ANSWER:
        return
    if _covered(units.covered, place, place + asked) >= FEWEST_ASKED:
        return
    start = max(hits[first, 2] - hits[first, 1], 0)
    end = min(hits[last, 2] + length - hits[last, 1] + asked, len(sums) - 1)
    if _answer_near(example, start, end, sums, units):
        row[1], row[6] = HIGH, 1


def findings_of(
    sums: npt.NDArray[np.uint64], found: npt.NDArray[np.int32], units: Units
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """All rows and scores that `judge` writes for a document with these n-grams (see hits.py)."""
    hits = hits_of(found, units)
    hits = hits[np.argsort(hits[:, 0], kind="stable")]
    room = 256
    while True:
        rows, scores = np.empty((room, ROW), np.int64), np.empty((room, SCORES))
        written = judge(hits, sums, units, rows, scores)
        if written <= room:
            kept = rows[:written, 1] != NOTHING
            return rows[:written][kept], scores[:written][kept]
        room = written
