"""The rules of a finding: how grave it is, from how much of an example stands in a document.

    HIGH      the question and, near it, its answer
    MEDIUM    the question
    REVIEW    a part of the question, or most of it in other words
    PASSAGE   the passage that the question is about, without the question

A change here changes findings, so RULES goes into every index's hash.
"""

from __future__ import annotations

from evaluation.contamination.compiling import compiled

RULES = 4  # version of this module, of verify.py, words.py, reading.py, markup.py,
# scanner.py, hits.py, questions.py, code.py, content.py and index.py
SEVERITIES = ("high", "medium", "review", "passage")
HIGH, MEDIUM, REVIEW, PASSAGE, NOTHING = range(5)

PASSAGE_COVERAGE = 0.5
PART = 8  # words in a row of a question that may be a leak of a part of it


@compiled
def severity_of(
    words: float,
    answer_words: float,
    coverage: float,
    similarity: float,
    run: float,
    near: bool,
    alone: bool,
    passage: bool,
    own: bool,
) -> int:
    """The severity of one example in one document; NOTHING for a chance resemblance.

    Words are counted as English ones (`Units.pace`). Of the question `words` count, of which
    `coverage` is found in n-grams, `similarity` in order (at least the coverage); `run` is the
    longest unbroken stretch of question and answer. `near`: an answer stands near. A question that
    does not stand `alone`, since others ask it with the same words, needs its `passage` in the
    document, or its answer where it has none. `own`: few examples share what was found.
    """
    if not alone and not passage:
        return NOTHING
    if words < 5:
        whole = run + 1e-6 >= words + answer_words and words + answer_words >= 6
        return HIGH if whole and near else NOTHING
    if words < 8:
        if coverage < 1:
            return NOTHING
        return HIGH if near else MEDIUM
    long_enough = words >= 11 or coverage == 1
    if near and similarity >= 0.8 and (coverage >= 0.3 or words >= 13) and long_enough:
        return HIGH
    if coverage >= 0.8 and long_enough:
        return MEDIUM
    partial = _reworded(words, answer_words, coverage, similarity, near)
    # A part that many questions share is how such questions begin.
    partial = partial or (own and coverage >= 0.4 and run >= PART and words >= 12)
    return REVIEW if partial else NOTHING


@compiled
def _reworded(
    words: float, answer_words: float, coverage: float, similarity: float, near: bool
) -> bool:
    if similarity >= 0.7 and near and coverage >= 0.15 and words >= 10 and answer_words >= 2:
        return True
    if similarity >= 0.8 and near and coverage >= 0.3:
        return True
    return similarity >= 0.72 and words >= 13 and coverage >= 0.15
