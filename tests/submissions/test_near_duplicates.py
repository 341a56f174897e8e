"""MinHash signatures against the similarities that they estimate."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from submissions.near_duplicates import (
    BANDS,
    LONGEST,
    PERMUTATIONS,
    bands,
    shingles,
    signature,
    similarity,
    words,
)


def numbered(first: int, last: int) -> str:
    return " ".join(f"word{number}" for number in range(first, last))


def jaccard(one: str, other: str) -> float:
    a, b = set(shingles(one)), set(shingles(other))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("shift", [0, 10, 100, 300, 600, 1000])
def test_the_similarity_is_that_of_the_shingles(shift):
    one, other = numbered(0, 1000), numbered(shift, 1000 + shift)
    error = 4 * 0.5 / PERMUTATIONS**0.5  # four standard errors at the least certain similarity
    assert abs(similarity(signature(one), signature(other)) - jaccard(one, other)) <= error


def test_case_punctuation_and_spaces_do_not_matter():
    assert np.array_equal(signature("One, two; three!\nFour  five six."),
                          signature("one two three four five six"))  # fmt: skip


def test_a_text_without_spaces_has_words_too():
    assert words("日本語 and ไทย") == ["日", "本", "語", "and", "ไ", "ท", "ย"]
    one = "".join(chr(0x4E00 + n) for n in range(500))
    assert similarity(signature(one), signature(one[5:])) > 0.9


def test_short_texts_differ_and_empty_ones_are_equal():
    assert similarity(signature("a b"), signature("a c")) < 0.5
    assert similarity(signature(""), signature("…!")) == 1.0
    assert shingles("…!") == []


def test_only_the_start_of_a_huge_text_is_read():
    text = "a " * (LONGEST // 2)
    assert np.array_equal(signature(text + numbered(0, 100)), signature(text))


def test_a_band_is_a_part_of_the_signature_with_its_number():
    keys = bands(signature(numbered(0, 100)))
    assert len(set(keys)) == BANDS
    assert [key[0] for key in keys] == list(range(BANDS))
    assert len(set(bands(np.zeros(PERMUTATIONS, dtype=np.uint32)))) == BANDS
    near = bands(signature(numbered(1, 101)))
    assert set(keys) & set(near)
    assert not set(keys) & set(bands(signature(numbered(500, 600))))


def test_every_process_finds_the_same_signature():
    """Python's own hash differs between processes."""
    code = (
        "from submissions.near_duplicates import signature; print(signature('a b c d e f').sum())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert found == {f"{signature('a b c d e f').sum()}\n"}
