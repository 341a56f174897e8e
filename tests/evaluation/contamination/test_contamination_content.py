"""How much a question says, and that a lone short one which says little is no finding."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.contamination import content
from evaluation.contamination.content import content_of
from evaluation.contamination.hits import grams_in, running_sums
from evaluation.contamination.index import Index
from evaluation.contamination.rules import HIGH, REVIEW
from evaluation.contamination.verify import LEAST_CONTENT, findings_of
from evaluation.contamination.words import Words

ONE = "The capital of Veldonia is Marsk."
THREE = f"{ONE} The river through Veldonia is Ostra. The currency of Veldonia is thaler."


def severities(text: str, index: Index, says: float) -> list[int]:
    """Of the findings in a text, if every question says as much as so many average words."""
    units = index.units._replace(content=np.full_like(index.units.content, says))
    sums = running_sums(Words(text.encode(), index.fold).hashes)
    rows, scores = findings_of(sums, grams_in(sums, index.grams), units)
    assert len(rows) == len(scores)
    return [int(severity) for severity in rows[:, 1]]


def test_a_short_sentence_by_itself_must_say_enough(index: Index) -> None:
    assert severities(ONE, index, LEAST_CONTENT) == [REVIEW]
    assert severities(ONE, index, LEAST_CONTENT - 0.1) == []
    assert severities(THREE, index, LEAST_CONTENT - 0.1) == [HIGH] * 3


def test_a_long_question_is_found_whatever_it_says(index: Index) -> None:
    text = "Why does a kettle with a coat of lime need longer to boil the same amount of water?"
    assert severities(text, index, 0) == severities(text, index, 9) != []


def test_common_words_say_less_than_rare_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "LEAST_WORDS", 1)
    # Two examples of a question of two words and an answer of one, then a passage.
    words = np.array([1, 1, 1, 2, 3, 1, *[1] * 10], np.uint64)
    first, asked = np.array([0, 3, 6, 16]), np.array([2, 2], np.int32)
    common, rare = content_of(words, first, asked)
    assert common[0] == pytest.approx(2 / 3 * common[1])
    assert rare[0] > 10 * common[0]
    assert rare[1] == pytest.approx(rare[0] + common[0] / 2)
    # A word that says as much as the mean counts one.
    shares = np.array([14, 1, 1]) / 16
    mean = -float(shares @ np.log2(shares))
    assert common[0] == pytest.approx(-2 * np.log2(14 / 16) / mean)


def test_few_words_tell_nothing_about_rarity(index: Index) -> None:
    checkable = index.units.content[index.checkable]
    assert len(checkable)
    assert checkable[:, 1].min() > LEAST_CONTENT
